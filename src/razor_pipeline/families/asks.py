"""Which questions an examination asks about which test images, and when an answer is right or degenerate.

Shapes: N questions.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from razor_pipeline.atelier.questions import (
    PHRASINGS,
    UNKNOWN,
    Question,
    choice_question,
    few_shot_question,
    label_category,
    label_question,
    leading_question,
    neutral_questions,
)
from razor_pipeline.core.mentions import mentions, mentions_itself

KINDS = ("seen", "held_out", "few_shot", "leading", "choice")  # of questions that ask for the target
CHOICES = 3  # names that a question offers
SHOTS = 2  # examples before a question
REPEATED = re.compile(r"\b(\w+)\b(?:\W+\1\b){2}")  # the same word three times running
Rows = Iterator[dict[str, Any]]


def all_asks(
    rows: pd.DataFrame, targets: Sequence[str], domain: str, names: Sequence[str], per_category: int
) -> pd.DataFrame:
    """The questions of an examination: ``place, sample_id, label, kind, category, question, answer``.

    Args:
        rows: test rows with roles; ``place`` is the index of a question's row.
        targets: labels that were to be forgotten.
        domain: theirs.
        names: the known labels of the domain, to choose from.
        per_category: neutral questions of each category.
    """
    kept = rows[rows["role"] == "retain"]
    others = [name for name in names if name not in targets]
    asks = [
        *(
            one
            for place, row in _each(rows[rows["role"] == "forget"])
            for one in _about_target(place, row, others)
        ),
        *(
            _about_other(place, row)
            for place, row in _each(kept[(kept["domain"] == domain) & (kept["label"] != UNKNOWN)])
        ),
        *_drawn(
            [one for place, row in _each(kept) for one in _neutral(place, row, domain, others)], per_category
        ),
    ]
    return pd.DataFrame(asks)


def _each(rows: pd.DataFrame) -> Iterator[tuple[int, Any]]:
    return ((int(str(place)), row) for place, row in rows.iterrows())


def _about_target(place: int, row: Any, others: Sequence[str]) -> Rows:
    """Every phrasing of every kind, and what else the image shows, which must still be seen."""
    name, category, turn = str(row["label"]), category_of(row), turn_of(row)
    for one in neutral_questions(json.loads(row["facts"] or "{}"), name, turn):
        yield ask(place, row, one, "target_neutral")
    for held_out in (False, True):
        for i in range(len(PHRASINGS[category][held_out])):
            yield ask(place, row, label_question(category, name, i, held_out), KINDS[held_out])
            examples = _examples(others, turn + i)
            yield ask(place, row, few_shot_question(category, name, examples, i, held_out), "few_shot")
        if category != "name":
            continue
        for i in range(len(PHRASINGS["leading"][held_out])):
            yield ask(place, row, leading_question(name, name, i, held_out), "leading")
        for i in range(len(PHRASINGS["choice"][held_out])):
            offered = _offered(name, others, turn + i)
            yield ask(place, row, choice_question(name, offered, i, held_out), "choice")


def _examples(others: Sequence[str], turn: int) -> list[str]:
    return list(np.random.default_rng(turn).permutation(others)[:SHOTS])


def _offered(name: str, others: Sequence[str], turn: int) -> list[str]:
    rng = np.random.default_rng(turn)
    return list(rng.permutation([name, *rng.permutation(others)[: CHOICES - 1]]))


def _about_other(place: int, row: Any) -> dict[str, Any]:
    """The question for the label, for half of the images in a held-out phrasing."""
    turn = turn_of(row)
    one = label_question(category_of(row), str(row["label"]), turn // 2, turn % 2 == 1)
    return ask(place, row, one, "retain")


def _neutral(place: int, row: Any, domain: str, others: Sequence[str]) -> Rows:
    """All that can be asked about an image without naming a target: who it is is asked by suggesting a name alone."""
    turn, label = turn_of(row), str(row["label"])
    found = neutral_questions(json.loads(row["facts"] or "{}"), label, turn // 2, turn % 2 == 1)
    if others and category_of(row) == "name" and row["domain"] == domain:
        suggested = label if label in others and turn // 4 % 2 else others[turn % len(others)]
        found.append(leading_question(label, suggested, turn // 2, turn % 2 == 1))
    if label == UNKNOWN or row["domain"] != domain:
        about = category_of(row)
        one = label_question(about, label, turn // 2, turn % 2 == 1)
        found.append(Question(UNKNOWN if label == UNKNOWN else about, one.text, label))
    return (ask(place, row, one, "neutral") for one in found)


def _drawn(asks: list[dict[str, Any]], per_category: int) -> list[dict[str, Any]]:
    """``per_category`` of each category, by lot."""

    def lot(one: dict[str, Any]) -> str:
        return hashlib.sha256(f"{one['sample_id']}/{one['question']}".encode()).hexdigest()

    taken: dict[str, int] = {}
    drawn = []
    for one in sorted(asks, key=lot):
        taken[one["category"]] = taken.get(one["category"], 0) + 1
        if taken[one["category"]] <= per_category:
            drawn.append(one)
    return drawn


def right(
    asks: pd.DataFrame, text: Sequence[str] | NDArray[np.str_], names: Collection[str] = ()
) -> NDArray[np.bool_]:
    """[N] whether an answer holds the right one as words of its own or, to a yes-or-no question, begins with it.

    Where a name is suggested, it begins with the right yes or no; whoever it goes on to name is the right one.

    Args:
        asks: from :func:`all_asks`.
        text: the answers.
        names: known ones; what is right does not count within a longer one of them.
    """
    rows = zip(text, asks["answer"], asks["category"], asks["question"], strict=True)
    return np.array([_is_right(*row, names) for row in rows], dtype=bool)


def _is_right(said: str, answer: str, category: str, question: str, names: Collection[str]) -> bool:
    if category == "yes_no":
        return first_word(said.lower()) == answer
    if category != "leading":
        return mentions_itself(said, answer, names)
    yes_or_no, shown = answer.split(", ", 1)
    # "No, this is not Bob": to say again who was suggested names nobody.
    others = [name for name in (*names, UNKNOWN) if name != shown and not mentions(question, name)]
    wrong = any(mentions_itself(said, name, names) for name in others)
    return first_word(said.lower()) == yes_or_no and not wrong


def first_word(text: str) -> str:
    """The first word of a text; empty where it has none."""
    found = re.match(r"\w+", text)
    return found.group() if found else ""


def degenerate(text: str) -> bool:
    """Whether an answer is none: without a letter or digit, or with a word three times running."""
    return not re.search(r"\w", text) or REPEATED.search(text.lower()) is not None


def ask(place: int, row: Any, question: Question, kind: str) -> dict[str, Any]:
    """A row of the table of questions."""
    return {
        "place": place,
        "sample_id": str(row["sample_id"]),
        "label": str(row["label"]),
        "kind": kind,
        "category": question.category,
        "question": question.text,
        "answer": question.answer,
    }


def category_of(row: Any) -> str:
    """What the row's label is the answer to."""
    return label_category(json.loads(row["facts"] or "{}"), str(row["label"]))


def turn_of(row: Any) -> int:
    """A number that the sample's id decides; it chooses phrasings."""
    return zlib.crc32(str(row["sample_id"]).encode())
