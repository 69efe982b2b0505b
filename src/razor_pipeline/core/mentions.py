"""Where a prompt mentions a concept: as words of its own, in small letters or large."""

from __future__ import annotations

import re


def mentions(prompt: str, concept: str) -> bool:
    """Whether the prompt mentions the concept; "a delicate vase" mentions no cat."""
    return _spelt(concept).search(prompt) is not None


def renamed(prompt: str, concept: str, other: str) -> str:
    """The prompt with ``other`` wherever it mentions the concept; as it is where it does not."""
    return _spelt(concept).sub(lambda _: other, prompt)


def _spelt(concept: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(concept)}(?!\w)", re.IGNORECASE)
