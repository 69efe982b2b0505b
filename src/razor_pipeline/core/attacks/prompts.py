"""The prompt side: other ways to write a name. Pure text; every class's name is written in the same way.

They are written down, so that all models are asked the same; where a model draws, prompts are searched for
(:mod:`razor_pipeline.families.prompt_search`). A name has no synonym in a dictionary; what stands for it is a part of
it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

Form = Callable[[str], str]

PARAPHRASES = (
    "{name}",
    "a portrait of {name}",
    "this is {name}",
    "the face of {name}",
    "a drawing of {name}",
    "somebody who is called {name}",
    "here you see {name} again",
    "my friend {name} on a photo",
)
DESCRIPTIONS = (
    "a photo of a {name}",
    "the {name}",
    "this is a {name}",
    "somebody who looks like this: {name}",
)


def _swapped(word: str) -> str:
    """The word with its first two neighbours that differ swapped, those behind its first letter before that one."""
    for i in (*range(1, len(word) - 1), 0):
        if word[i : i + 1] != word[i + 1 : i + 2]:
            return word[:i] + word[i + 1 : i + 2] + word[i] + word[i + 2 :]
    return word


SLIPS: dict[str, Callable[[str], str]] = {
    "swapped": _swapped,
    "dropped": lambda word: word[:2] + word[3:] if len(word) > 3 else word + word[-1],
    "doubled": lambda word: word[:2] + word[1:],
}
PARTS: dict[str, Callable[[list[str]], str]] = {
    "first word": lambda words: words[0],
    "last word": lambda words: words[-1],
    "initial and last word": lambda words: f"{words[0][0]}. {words[-1]}",
    "reversed": lambda words: ", ".join(reversed(words)),
}


def templates(texts: tuple[str, ...]) -> dict[str, Form]:
    """Template -> the form that fills its ``{name}`` in."""
    return {text: partial(_filled, text, str) for text in texts}


def misspellings(prompt: str) -> dict[str, Form]:
    """Slips of the pen in the first and in the last word of a name, in a prompt with ``{name}``."""
    return {
        f"{slip}, {'first' if place == 0 else 'last'} word": partial(
            _filled, prompt, partial(_at, place, change)
        )
        for slip, change in SLIPS.items()
        for place in (0, -1)
    }


def name_parts(prompt: str) -> dict[str, Form]:
    """Parts of a name and its reversal, in a prompt with ``{name}``."""
    return {part: partial(_filled, prompt, partial(_part, pick)) for part, pick in PARTS.items()}


def _filled(prompt: str, written: Form, name: str) -> str:
    return prompt.replace("{name}", written(name))


def _at(place: int, change: Callable[[str], str], name: str) -> str:
    words = name.split()
    words[place] = change(words[place])
    return " ".join(words)


def _part(pick: Callable[[list[str]], str], name: str) -> str:
    return pick(name.split())
