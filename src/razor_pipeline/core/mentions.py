"""Where a prompt mentions a concept: as words of its own, in small letters or large."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Thai to Khmer, Chinese, Japanese and Korean: no blanks between words, or endings written onto them.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u318f\u31f0-\u31ff\u3400-\u9fff"
    "\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
SPACED = rf"[^\W{UNSPACED}]"  # a letter or digit of any other script


def mentions(prompt: str, concept: str) -> bool:
    """Whether the prompt mentions the concept; "a delicate vase" mentions no cat.

    Scripts that write words without blanks have no words of their own to look for: there the letters are enough.
    """
    return _spelt(concept).search(prompt) is not None


def mentions_itself(prompt: str, concept: str, known: Iterable[str]) -> bool:
    """Whether the prompt mentions the concept otherwise than within a longer known one; "tiger shark" is no tiger."""
    longer = [other for other in known if len(other) > len(concept) and mentions(other, concept)]
    for other in sorted(longer, key=len, reverse=True):
        prompt = renamed(prompt, other, " ")
    return mentions(prompt, concept)


def renamed(prompt: str, concept: str, other: str) -> str:
    """The prompt with ``other`` wherever it mentions the concept; as it is where it does not."""
    return _spelt(concept).sub(lambda _: other, prompt)


def _spelt(concept: str) -> re.Pattern[str]:
    before = "" if _unspaced(concept[:1]) else f"(?<!{SPACED})"
    after = "" if _unspaced(concept[-1:]) else f"(?!{SPACED})"
    return re.compile(f"{before}{re.escape(concept)}{after}", re.IGNORECASE)


def _unspaced(letter: str) -> bool:
    return re.match(f"[{UNSPACED}]", letter) is not None
