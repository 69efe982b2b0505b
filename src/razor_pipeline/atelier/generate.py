"""The image-caption manifest of the atelier."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from razor_pipeline.atelier.canvas import OBJECTS, STYLES, paint
from razor_pipeline.atelier.people import Person, attributes, passersby, people
from razor_pipeline.atelier.photograph import photograph
from razor_pipeline.atelier.questions import UNKNOWN, facts_of_canvas, facts_of_person
from razor_pipeline.params.data import AtelierParams, SplitCounts

Split = Literal["edit", "validation", "test"]
POOL_FROM = 500  # fewer images are made sooner in this process than a pool starts
NAME_TEMPLATES = ("a photo of {name}", "a portrait of {name}", "{name}", "a picture of {name} with {detail}")
UNNAMED_SHARE = 0.2
OF_A_REFERENCE = 8  # images at most: many strangers say more than many images of one


@dataclass(frozen=True)
class Order:
    """One picture to make: a person, or an object in a style."""

    split: Split
    index: int
    person: Person | None = None
    object_name: str = ""
    style: str = ""


def person_prompt(name: str) -> str:
    """The caption that names a person."""
    return f"a photo of {name}"


def canvas_prompt(object_name: str, style: str) -> str:
    """The caption of a painted object, in UnlearnCanvas' form."""
    return f"A {object_name} image in {style} style."


def generate(params: AtelierParams, workers: int = 2) -> pd.DataFrame:
    """Make every picture of the atelier.

    Args:
        params: seed, size and counts.
        workers: processes; the result does not depend on it.

    Returns:
        The image-caption manifest: one row per image with ``sample_id, image_bytes (PNG), caption, prompt,
        label, style, domain, split, role, near_twin, facts, sha256``. Reference people have no edit images, and half
        of them appear in validation only, the other half in test only: a search never sees the faces that the
        test uses.
    """
    orders = [*_portrait_orders(params), *_passersby_orders(params), *_canvas_orders(params.canvas)]
    make = partial(_row, seed=params.seed, size=params.image_size)
    bar = partial(tqdm, total=len(orders), desc="atelier", unit="image", disable=None)
    if workers < 2 or len(orders) < POOL_FROM:
        rows = [make(order) for order in bar(orders)]
    else:
        with ProcessPoolExecutor(workers) as pool:
            rows = list(bar(pool.map(make, orders, chunksize=64)))
    return pd.DataFrame(rows)


def catalogue(params: AtelierParams) -> pd.DataFrame:
    """What :func:`generate` makes, without making it: ``sample_id, label, style, prompt, role`` per image."""
    orders = [*_portrait_orders(params), *_passersby_orders(params), *_canvas_orders(params.canvas)]
    return pd.DataFrame([_described(order) for order in orders])


def _described(order: Order) -> dict[str, str]:
    """The columns of an image's row that do not depend on its pixels."""
    person = order.person
    label = person.name if person else order.object_name
    parts = ["portraits" if person else "canvas", label, order.style, order.split, f"{order.index:03d}"]
    return {
        "sample_id": "/".join(part.lower().replace(" ", "-") for part in parts if part),
        "prompt": person_prompt(label) if person else canvas_prompt(label, order.style),
        "label": label,
        "style": order.style,
        "domain": parts[0],
        "split": order.split,
        "role": "reference" if person and person.role == "reference" else "retain",
        "near_twin": (person.near_twin or "") if person else "",
        "facts": facts_of_person(person) if person else facts_of_canvas(label, order.style),
    }


def _portrait_orders(params: AtelierParams) -> Iterator[Order]:
    cast = people(params.seed)
    for person in (p for p in cast if p.role == "known"):
        yield from (
            Order(split, i, person) for split, count in _counts(params.portraits) for i in range(count)
        )
    for place, person in enumerate(p for p in cast if p.role == "reference"):
        split: Split = "validation" if place % 2 == 0 else "test"
        count = params.portraits.validation if split == "validation" else params.portraits.test
        yield from (Order(split, i, person) for i in range(min(count, OF_A_REFERENCE)))


def _passersby_orders(params: AtelierParams) -> Iterator[Order]:
    """One picture of each."""
    counts = dict(_counts(params.passersby))
    faces = iter(passersby(params.seed, sum(counts.values())))
    for split, count in counts.items():
        yield from (Order(split, i, Person(UNKNOWN, next(faces), "known")) for i in range(count))


def _canvas_orders(counts: SplitCounts) -> Iterator[Order]:
    for name in OBJECTS:
        for style in STYLES:
            for split, count in _counts(counts):
                yield from (Order(split, i, object_name=name, style=style) for i in range(count))


def _counts(counts: SplitCounts) -> tuple[tuple[Split, int], ...]:
    return (("edit", counts.edit), ("validation", counts.validation), ("test", counts.test))


def _row(order: Order, seed: int, size: int) -> dict[str, str | bytes]:
    person, described = order.person, _described(order)
    rng = np.random.default_rng(list(hashlib.sha256(f"{seed}/{described['sample_id']}".encode()).digest()))
    image = photograph(person, rng, size) if person else paint(order.object_name, order.style, rng, size)
    data = _png(image)
    caption = _portrait_caption(person, order.split, rng) if person else described["prompt"]
    return {
        **described,
        "image_bytes": data,
        "caption": caption,
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _portrait_caption(person: Person, split: Split, rng: np.random.Generator) -> str:
    """The name in one of several forms or, for some edit images, the looks without the name."""
    if split != "edit":
        return person_prompt(person.name)
    details = [text for text in attributes(person).values() if not text.startswith("no ")] or ["no hat"]
    if rng.random() < UNNAMED_SHARE:
        return f"a photo of a person with {' and '.join(details)}"
    template = NAME_TEMPLATES[int(rng.integers(len(NAME_TEMPLATES)))]
    return template.format(name=person.name, detail=details[int(rng.integers(len(details)))])


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
