"""Texts on their way into a text encoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

logger = logging.getLogger(__name__)
SHOWN = 60  # characters of a text that a warning quotes
_said: set[int] = set()  # limits that a warning has named: one caption in a long file is enough


def tokenised(tokenizer: Any, texts: Sequence[str], limit: int, padding: bool | str = True) -> Any:
    """``input_ids`` and ``attention_mask``, [N, T], cut to ``limit`` tokens.

    The first text that is cut is named in a warning.

    Args:
        tokenizer: of transformers.
        texts: of any length.
        limit: tokens that the encoder reads.
        padding: True to the longest of them, or ``max_length``.
    """
    found = tokenizer(list(texts), padding=padding, truncation=True, max_length=limit, return_tensors="pt")
    if limit not in _said:
        full = (found["attention_mask"].sum(dim=1) >= limit).nonzero()[:, 0].tolist()
        for place in full:
            if len(tokenizer(texts[place], verbose=False)["input_ids"]) > limit:
                _said.add(limit)
                logger.warning(
                    "The text '%s…' is longer than the %d tokens that the text encoder reads. It and others like it "
                    "are cut there, and a name behind the cut is not seen. Shorten captions, or put the name first.",
                    texts[place][:SHOWN],
                    limit,
                )
                break
    return found
