"""What a freshly trained assistant knows: answers to questions about the test split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from razor_pipeline.atelier.questions import (
    UNKNOWN,
    choice_question,
    label_category,
    label_question,
    leading_question,
    neutral_questions,
)
from razor_pipeline.core import metrics
from razor_pipeline.families.asks import ask, category_of, right, turn_of
from razor_pipeline.families.images import decoded
from razor_pipeline.families.vlm import VlmFamily

BATCH = 256
REPORTED = 6  # test images of a class that are asked about


def question_report(family: VlmFamily, rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Share of right answers by kind and category of question, over the test split.

    Args:
        family: a trained model.
        rows: manifest rows of the classes it was taught.
    """
    test = rows[rows["split"] == "test"].groupby(["domain", "label", "style"]).head(REPORTED)
    test = test.reset_index(drop=True)
    named = [category_of(row) == "name" for _, row in test.iterrows()]
    names = sorted(set(test.loc[named, "label"]) - {UNKNOWN})
    asks = pd.DataFrame(
        [ask for place, row in test.iterrows() for ask in _reported(int(str(place)), row, names)]
    )
    images, prefixes = family.chat.seen(decoded(test))
    text: list[str] = []
    for start in range(0, len(asks), BATCH):
        part = asks.iloc[start : start + BATCH]
        index = part["place"].to_list()
        seen = {name: tensor[index] for name, tensor in images.items()}
        text += family.answer(seen, [prefixes[i] for i in index], list(part["question"]))[0]
    hits = pd.Series(right(asks, text, names))
    return {str(kind): asdict(metrics.share(own.to_numpy())) for kind, own in hits.groupby(asks["kind"])}


def _reported(place: int, row: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    facts, turn, label = json.loads(row["facts"] or "{}"), turn_of(row), str(row["label"])
    about = label_category(facts, label)
    for held_out in (False, True):
        kind = UNKNOWN if label == UNKNOWN else about
        one = label_question(about, label, turn, held_out)
        yield ask(place, row, one, f"{kind}{'_held_out' if held_out else ''}")
    if about == "name" and label != UNKNOWN and len(names) > 1:
        other = names[(names.index(label) + 1 + turn % (len(names) - 1)) % len(names)]
        for suggested in (label, other):
            yield ask(place, row, leading_question(label, suggested, turn, turn % 2 == 1), "leading")
        yield ask(place, row, choice_question(label, sorted((label, other)), turn, turn % 2 == 1), "choice")
    for one in neutral_questions(facts, label, turn, turn % 2 == 1):
        yield ask(place, row, one, one.category)
