"""Image panels: a photograph and the model's top captions, or a prompt's drawings, before and after the edit."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from razor_pipeline.pictures import Picture, opened, pictures
from razor_pipeline.reporting.figures import FONT, LIGHT, new_figure, png, say

GROUPS = {
    "target": "The target",
    "near_twin": "Its near-twin",
    "lost": "Lost most",
    "other": "Others",
    "general": "Other domains",
}
GROUP_NOTES = {
    "target": "should no longer be named or drawn",
    "near_twin": "differs in a single feature; should still be named",
    "lost": "of the class that is to be kept and loses most, images that only the base model names right",
    "other": "should still be named, or drawn as before",
    "general": "should be captioned as before; in drawings, the other kind of concept should still be seen",
}
PER_ROW = 4
THUMBNAIL = 192


@dataclass(frozen=True)
class Answer:
    """One caption of a model for an image, or its answer to a question: its score, and whether it is right."""

    caption: str
    score: float
    correct: bool


@dataclass(frozen=True)
class Card:
    """One image with what the model said before and says now, best caption first.

    Attributes:
        group: target, near_twin, other or general.
        label: what the image shows.
        style: its style, "" if none.
        image: as an RGB thumbnail; what the base model drew, where the model draws.
        base: captions of the base model, or what the judges see in its drawing.
        edited: the same of the edited model.
        after: what the edited model drew; None where the model doesn't draw.
    """

    group: str
    label: str
    style: str
    image: Image.Image
    base: tuple[Answer, ...]
    edited: tuple[Answer, ...]
    after: Image.Image | None = None

    @property
    def title(self) -> str:
        """What the image shows, in words."""
        return f"{self.label}, {self.style}" if self.style else self.label


def cards(samples: pd.DataFrame, predictions: pd.DataFrame) -> list[Card]:
    """A card for everything that predictions were kept of, group by group.

    Raises:
        ValueError: a predicted sample is not in the samples.
    """
    if "image_bytes" in predictions:
        return _drawn_cards(predictions)
    shown = samples[samples["sample_id"].isin(predictions["sample_id"])]
    rows = {str(row["sample_id"]): row for row in shown.to_dict("records")}
    images = dict(zip(rows, pictures(shown), strict=True))
    right = samples.groupby(["domain", "label", "style"])["prompt"].agg(set).to_dict()
    found = []
    for group in GROUPS:
        for sample_id in dict.fromkeys(predictions.loc[predictions["group"] == group, "sample_id"]):
            if sample_id not in rows:
                raise ValueError(
                    f"predictions name the sample '{sample_id}', which samples lack; run evaluation again"
                )
            row = rows[sample_id]
            own = predictions[(predictions["sample_id"] == sample_id) & (predictions["group"] == group)]
            correct = right[(row["domain"], row["label"], row["style"])]
            before, after = (_answers(own[own["model"] == model], correct) for model in ("base", "edited"))
            found.append(
                Card(group, row["label"], row["style"], _thumbnail(images[sample_id]), before, after)
            )
    return found


def _drawn_cards(predictions: pd.DataFrame) -> list[Card]:
    """Of drawings, which come with the predictions."""
    found = []
    for group, part in predictions.groupby("group", sort=False):
        for _, pair in part.groupby("sample_id", sort=False):
            rows = {str(row["model"]): row for row in pair.to_dict("records")}
            before, after = rows["base"], rows["edited"]
            found.append(
                Card(
                    str(group),
                    before["label"],
                    before["style"],
                    _thumbnail(Picture(before["image_bytes"])),
                    _judged(before),
                    _judged(after),
                    _thumbnail(Picture(after["image_bytes"])),
                )
            )
    return found


def _judged(row: Mapping[Hashable, Any]) -> tuple[Answer, ...]:
    return (Answer(str(row["caption"]), float(row["score"]), row["score"] == 1.0),)


def _answers(rows: pd.DataFrame, correct: set[str]) -> tuple[Answer, ...]:
    ordered = rows.sort_values("rank")
    # answers to questions come marked; a caption is right where it is the image's own
    marks = ordered["correct"] if "correct" in ordered else ordered["caption"].isin(correct)
    return tuple(
        Answer(str(caption), float(score), bool(mark))
        for caption, score, mark in zip(ordered["caption"], ordered["score"], marks, strict=True)
    )


def _thumbnail(picture: Picture) -> Image.Image:
    [small] = opened([picture])
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return small


def image_panel(found: list[Card]) -> bytes:
    """Draw the cards as one picture, a row or more per group, for MLflow and the README."""
    rows = [
        own[start : start + PER_ROW]
        for group in GROUPS
        for own in [[card for card in found if card.group == group]]
        for start in range(0, len(own), PER_ROW)
    ]
    if not rows:
        figure = new_figure(9.0, 2.0, LIGHT)
        say(figure.subplots(), "no predictions were kept", LIGHT)
        return png(figure)
    columns = max(map(len, rows))
    if any(card.after is not None for card in found):
        return _drawn_panel(rows, columns)
    figure = new_figure(4.3 * columns, 2.35 * len(rows), LIGHT)
    figure.set_layout_engine("none")
    for place, own in enumerate(rows):
        _row(figure, own, (place, len(rows), columns))
    return png(figure, colours=None)


def _drawn_panel(rows: list[list[Card]], columns: int) -> bytes:
    """Two rows for one of cards: drawings of the base model, and below the edited one's from the same noise."""
    figure = new_figure(1.9 * columns, 4.3 * len(rows), LIGHT)
    grid = figure.subplots(2 * len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for place, own in enumerate(rows):
        for column, card in enumerate(own):
            for row, image, seen in ((0, card.image, card.base), (1, card.after, card.edited)):
                axes = grid[2 * place + row, column]
                axes.imshow(image, interpolation="lanczos")
                asked = f"{card.title}\n" if row == 0 else ""
                colour = LIGHT.good if seen[0].correct else LIGHT.accent
                when = "before" if row == 0 else "after"
                axes.set_title(
                    f"{asked}{when}: {seen[0].caption}",
                    fontsize=7.5,
                    color=colour,
                    fontfamily=FONT,
                    loc="left",
                    parse_math=False,
                )
    return png(figure, colours=None)


def _row(figure: Figure, found: list[Card], where: tuple[int, int, int]) -> None:
    place, rows, columns = where
    top, height = 1.0 - place / rows, 1.0 / rows
    text: dict[str, Any] = {"fontfamily": FONT, "va": "top"}
    heading = f"{GROUPS[found[0].group]}: {GROUP_NOTES[found[0].group]}"
    left = 0.05 / columns
    figure.text(left, top - 0.05 * height, heading, color=LIGHT.ink, fontsize=11, fontweight="bold", **text)
    for column, card in enumerate(found):
        x = column / columns
        axes = figure.add_axes((x + left, top - 0.95 * height, 0.36 / columns, 0.76 * height))
        axes.imshow(card.image, interpolation="lanczos")
        axes.set_axis_off()
        axes.set_anchor("NW")
        words = figure.add_axes((x + 0.43 / columns, top - 0.95 * height, 0.55 / columns, 0.76 * height))
        _words(words, card)


def _words(axes: Axes, card: Card) -> None:
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    plain: dict[str, Any] = {"fontfamily": FONT, "va": "top", "parse_math": False}  # a caption may hold a $
    for y, text, colour, bold in _lines(card):
        weight = "bold" if bold else "normal"
        axes.text(0, y, text, color=colour, fontsize=7.6, fontweight=weight, **plain)


def _lines(card: Card) -> Iterator[tuple[float, str, str, bool]]:
    for start, heading, answers in ((1.0, "before", card.base), (0.48, "after", card.edited)):
        yield start, heading, LIGHT.muted, True
        for rank, answer in enumerate(answers):
            mark = "✓" if answer.correct else "✗"
            text = textwrap.shorten(answer.caption, 30, placeholder="…")
            colour = LIGHT.good if answer.correct else LIGHT.accent
            yield start - 0.12 * (rank + 1), f"{mark} {text}  {answer.score:.2f}", colour, rank == 0
