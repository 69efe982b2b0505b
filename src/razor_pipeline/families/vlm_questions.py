"""What an edit asks about the rows of a batch: for their labels, about the rest, and whether they show a label."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import pandas as pd

from razor_pipeline.atelier.questions import (
    UNKNOWN,
    Question,
    is_it_question,
    label_category,
    label_question,
    leading_question,
    neutral_questions,
)

NEUTRAL = 3  # neutral questions of a row
Several = tuple[tuple[Question, ...], ...]


def row_questions(rows: pd.DataFrame) -> tuple[tuple[Question, ...], Several, Several]:
    """Of each row the question for its label, the neutral ones, and whether it shows its label or another one.

    The phrasing of each question depends on the sample id. The answer to the first is the row's caption; without one
    the row is not asked whether it shows its label.
    """
    facts = rows["facts"] if "facts" in rows else [""] * len(rows)
    turns = [zlib.crc32(str(sample).encode()) for sample in rows["sample_id"]]
    label, neutral = [], []
    for text, name, caption, turn in zip(facts, rows["label"], rows["caption"], turns, strict=True):
        known = json.loads(text or "{}")
        label.append(label_question(label_category(known, name), caption, turn))
        found = neutral_questions(known, name, turn)
        neutral.append(tuple((found[turn % len(found) :] + found)[:NEUTRAL]) if found else ())
    suggested = [_suggested(one, label, turn) for one, turn in zip(label, turns, strict=True)]
    return tuple(label), tuple(neutral), tuple(suggested)


def suggestion(one: Question, suggested: str, place: int) -> Question:
    """Whether an image whose label answers a question shows what is suggested."""
    return (leading_question if one.category == "name" else is_it_question)(one.answer, suggested, place)


def _suggested(one: Question, every: Sequence[Question], turn: int) -> tuple[Question, ...]:
    """Its own label or, in every other turn, another one that is asked for.

    Nothing where there is no label, or none to suggest; nobody asks whether this is a style.
    """
    others = {other.answer for other in every if other.category == one.category} - {one.answer, UNKNOWN, ""}
    if not one.answer or one.category == "style" or not (others or one.answer != UNKNOWN):
        return ()
    right = one.answer != UNKNOWN and (turn % 2 or not others)
    return (suggestion(one, one.answer if right else sorted(others)[turn % len(others)], turn // 2),)
