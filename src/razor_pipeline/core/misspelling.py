"""Misspelt names: a slip of the pen still calls up whom it means, in a model as in a reader."""

from __future__ import annotations

import string
from collections.abc import Collection

import torch


def misspelt(
    name: str, count: int, generator: torch.Generator, others: Collection[str] = ()
) -> tuple[str, ...]:
    """``name`` with one letter replaced by another, in ``count`` ways.

    None is a slip that an edit is tested with (:func:`razor_pipeline.core.attacks.prompts.misspellings`): those
    swap, drop or double letters.

    Args:
        name: of one or more words.
        count: ways; fewer where the name has no letters for so many.
        generator: draws letters and places.
        others: names that are right themselves, and no slip.
    """
    right_ones = {other.casefold() for other in others}
    slips = (
        name[:place] + (letter.upper() if name[place].isupper() else letter) + name[place + 1 :]
        for place, right in enumerate(name)
        if right.isalpha()
        for letter in string.ascii_lowercase
        if letter != right.lower()
    )
    wrong = [slip for slip in slips if slip.casefold() not in right_ones]
    return tuple(wrong[i] for i in torch.randperm(len(wrong), generator=generator)[:count].tolist())
