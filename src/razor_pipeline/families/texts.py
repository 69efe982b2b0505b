"""Texts on their way into a text encoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

logger = logging.getLogger(__name__)
SHOWN = 60  # characters of a prompt that a warning quotes
_said: set[int] = set()  # limits that a warning has named: one prompt of many is enough


def warn_of_cut(tokenizer: Any, prompts: Sequence[str], tokens: Any, limit: int) -> None:
    """Name the first prompt that is longer than the encoder reads; a caption of an image may be, unharmed.

    Args:
        tokenizer: of transformers.
        prompts: texts that concepts are told apart by.
        tokens: what the tokenizer made of them, cut to ``limit``.
        limit: tokens that the encoder reads.
    """
    if limit in _said:
        return
    full = (tokens["attention_mask"].sum(dim=1) >= limit).nonzero()[:, 0].tolist()
    longer = (
        prompts[place] for place in full if len(tokenizer(prompts[place], verbose=False)["input_ids"]) > limit
    )
    if (example := next(longer, None)) is not None:
        _said.add(limit)
        logger.warning(
            "The prompt '%s…' is longer than the %d tokens that the text encoder reads. What is behind is not read, "
            "and prompts that differ there alone are one: shorten them.",
            example[:SHOWN],
            limit,
        )
