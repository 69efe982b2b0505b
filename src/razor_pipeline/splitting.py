"""Who is forgotten, what is kept, and which rows are used for it. Pure: tables in, tables out."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from difflib import get_close_matches

import pandas as pd

from razor_pipeline.manifest import COMBINED, SPLITS, DataError
from razor_pipeline.params.base import composed
from razor_pipeline.params.data import Concept, SplittingParams

OTHER_KIND: dict[Concept | None, str] = {  # data.concept -> what a name of the column style is
    "label": "a style here; to forget it set data.concept to style (on the canvas: --env style)",
    "style": "an object here; to forget it set data.concept to label (on the canvas: --env object)",
    None: "here the other concept of its images; to forget it set data.concept to the other of label and style",
}


class SplittingError(DataError):
    """The manifest cannot serve this request; the message is one sentence with the fix."""


def parse_targets(target: object) -> list[str]:
    """Names from ``"A|B"`` or a list, trimmed, accents in one spelling, each once, in the order given.

    Raises:
        SplittingError: no name is given, or one is not a text.
    """
    if target is not None and not isinstance(target, str | list | tuple):
        raise SplittingError(f"target is {target!r}, which is not a text; put it in quotes")
    parts: list[object] = list(target.split("|")) if isinstance(target, str) else list(target or ())
    for part in parts:
        if not isinstance(part, str):
            raise SplittingError(f"target holds {part!r}, which is not a text; put it in quotes")
    names = [composed(" ".join(str(part).split())) for part in parts]
    found = list(dict.fromkeys(name for name in names if name))
    if not found:
        raise SplittingError('target is empty; name what to forget, e.g. target="Ada Moreau" or "A|B"')
    return found


def resolve_targets(
    manifest: pd.DataFrame, targets: Sequence[str], concept: Concept | None = None
) -> list[str]:
    """The labels that the targets mean: a label, or the caption that names one.

    Letter case, blanks in a row and how an accent is written do not matter, but where they tell two labels apart.

    Args:
        manifest: rows with ``label, prompt, role`` and, where images have a second concept, ``style``.
        targets: names.
        concept: ``data.concept`` that the labels come from, for a refusal to say what else a name would be.

    Raises:
        SplittingError: a target is unknown or means several labels, or the base model never saw it.
    """
    prompts = manifest.groupby("label")["prompt"].unique()
    exact = [str(label) for label in prompts.index]
    known: defaultdict[str, list[str]] = defaultdict(list)
    for name in exact:
        known[_plain(name)].append(name)
    named = {_plain(str(p[0])): str(label) for label, p in prompts.items() if len(p) == 1}
    reference = set(manifest.loc[manifest["role"] == "reference", "label"])
    if len(targets) > 1 and (whole := "|".join(targets)) in exact:
        raise SplittingError(
            f"'{whole}' is one name in the data, and | separates several; give it in a list: target=[\"{whole}\"]"
        )
    labels = []
    for target in targets:
        alike = [target] if target in exact else known.get(_plain(target), [])
        if len(alike) > 1:
            raise SplittingError(
                f"target '{target}' may mean {' or '.join(alike)}; spell it as the data does"
            )
        label = alike[0] if alike else named.get(_plain(target))
        if label is None:
            labelled = sorted(set(exact) - reference)
            raise SplittingError(_of_the_other_kind(manifest, target, concept) or _unknown(target, labelled))
        if label in reference:
            raise SplittingError(
                f"target '{label}' is a reference class: the base model never saw it and cannot forget it; "
                "choose a class that it knows"
            )
        labels.append(label)
    return list(dict.fromkeys(labels))


def _plain(name: str) -> str:
    return composed(" ".join(name.split())).casefold()


def _of_the_other_kind(manifest: pd.DataFrame, target: str, concept: Concept | None) -> str | None:
    """What to say of a name that is the other concept of the images (:func:`razor_pipeline.manifest.arranged`)."""
    name = target.casefold()
    labels = sorted(set(manifest["label"]))
    if pairs := [label for label in labels if name in label.casefold().split(COMBINED)]:
        return f"target '{target}' is one half of what requests name here; name both, e.g. {pairs[0]}"
    others = {other.casefold(): other for other in manifest.get("style", ())}
    return f"target '{others[name]}' is {OTHER_KIND[concept]}" if name in others else None


def _unknown(target: str, labels: list[str]) -> str:
    lower = {label.casefold(): label for label in labels}
    near = [lower[name] for name in get_close_matches(target.casefold(), list(lower), 3, 0.6)]
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"it has, among others, {', '.join(sorted(labels)[:5])}"
    )
    return f"target '{target}' is not in the data; {hint}"


def split_samples(
    manifest: pd.DataFrame, targets: str | Sequence[str], params: SplittingParams, seed: int
) -> pd.DataFrame:
    """The manifest rows that a run uses, in manifest order, targets with role ``forget``.

    Forget rows are all kept. Retain rows to edit and to test with are drawn from every other class, those to validate
    with from the targets' domain, and as many never-seen ones at most. Who is a near-twin plays no part: a user's data
    doesn't say.

    Args:
        manifest: the image-caption manifest.
        targets: labels, or captions that name them.
        params: sizes.
        seed: of the draw; the result depends on it and on the sample ids, not on the order of rows.

    Raises:
        SplittingError: a target is unknown, has too few images, leaves nothing to keep, shares an image with
            what is kept, or is of another domain than the rest.
    """
    labels = resolve_targets(manifest, parse_targets(targets))
    rows = manifest.assign(role=manifest["role"].mask(manifest["label"].isin(labels), "forget"))
    _check_forget(rows, labels, params.min_forget_images)
    forget, retain = rows[rows["role"] == "forget"], rows[rows["role"] == "retain"]
    _check_retain(forget, retain)
    own = retain["domain"].isin(set(forget["domain"]))
    edit, validation = retain[retain["split"] == "edit"], retain[own & (retain["split"] == "validation")]
    test, never_seen = retain[retain["split"] == "test"], rows[rows["role"] == "reference"]
    validated = never_seen["split"] == "validation"
    drawn = [
        _draw(edit, params.max_retain_samples, seed),
        _draw(validation, params.max_validation_samples, seed),
        _draw(test, _enough_test_rows(test, params.max_test_samples), seed),
        _draw(never_seen[validated], params.max_validation_samples, seed),
        never_seen[~validated].index,
        forget.index,
    ]
    kept = set().union(*drawn)
    return rows[rows.index.isin(kept)].reset_index(drop=True)


def _enough_test_rows(test: pd.DataFrame, most: int | None) -> int:
    """``most``, or one of each class: without its name an image of the target would be told from fewer others."""
    return len(test) if most is None else max(most, test.groupby(["domain", "label"]).ngroups)


def _draw(rows: pd.DataFrame, count: int, seed: int) -> pd.Index:
    """Index of ``count`` rows, stratified by class.

    One of each class comes first. Then a class's share grows with the square root of its size: a large one neither
    crowds out the small ones nor counts as one of them.
    """
    lot = [hashlib.sha256(f"{seed}/{sample}".encode()).hexdigest() for sample in rows["sample_id"]]
    order = rows.assign(lot=lot).sort_values("lot")
    groups = order.groupby(["domain", "label"])["lot"]
    order["place"] = (groups.cumcount() + 1) / groups.transform("size") ** 0.5
    order.loc[groups.cumcount() == 0, "place"] = 0.0
    return order.sort_values(["place", "lot"]).index[:count]


def _check_forget(rows: pd.DataFrame, labels: Sequence[str], minimum: int) -> None:
    for label in labels:
        own = rows[rows["label"] == label]
        sizes = {split: own.loc[own["split"] == split, "sha256"].nunique() for split in SPLITS}
        needed = {"edit": minimum, "validation": 1, "test": 1}
        for split, size in sizes.items():
            if size < needed[split]:
                raise SplittingError(
                    f"target '{label}' has {size} {split} images, {needed[split]} are needed; add some"
                    + (" or lower splitting.min_forget_images" if split == "edit" and size else "")
                )


def _check_retain(forget: pd.DataFrame, retain: pd.DataFrame) -> None:
    domains = ", ".join(sorted(set(forget["domain"])))
    if forget["domain"].nunique() > 1:
        raise SplittingError(f"the targets belong to the domains {domains}; forget those of one at a time")
    own = retain[retain["domain"] == domains]
    for split in SPLITS:
        if not (own["split"] == split).any():
            raise SplittingError(
                f"nothing of the domain '{domains}' is left to keep in the {split} split; "
                "forget fewer classes or add images of others"
            )
    shared = forget[forget["sha256"].isin(set(retain["sha256"]))]
    if len(shared):
        twin = retain[retain["sha256"] == shared["sha256"].iloc[0]].iloc[0]
        raise SplittingError(
            f"{len(shared)} images are both to be forgotten and to be kept, e.g. "
            f"{shared['sample_id'].iloc[0]}, which is {twin['sample_id']}; give each image one class"
        )
