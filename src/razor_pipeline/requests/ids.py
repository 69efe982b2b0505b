"""Names that enter paths, tags and logs. Each is opaque: digits behind a short prefix, never a person's name."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from razor_pipeline.param_errors import WholeSentenceError
from razor_pipeline.params import requests

LONGEST_SHOWN = 40
LONGEST_PATH = 200
REQUEST = re.compile(r"REQ-[0-9]{4}-[0-9]{4,9}")
REFERENCE = re.compile(r"[A-Z]{2,6}-[0-9]{3,12}")
ACTOR = re.compile(requests.ACTOR)
MODEL = re.compile(requests.MODEL)
PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class IdError(WholeSentenceError):
    """A name does not fit its pattern; the message has the rule and an example, and at most a start of the value."""


def request_id(text: str) -> str:
    """The id, if it is one: ``REQ-2026-0042``.

    Raises:
        IdError: it does not fit.
    """
    return _fitting(text, REQUEST, "request id", "REQ-, a year, - and 4 to 9 digits, such as REQ-2026-0042")


def reference(text: str) -> str:
    """The number of a case in another system: ``CASE-0815``.

    Raises:
        IdError: it does not fit.
    """
    return _fitting(
        text, REFERENCE, "requester reference", "2 to 6 capitals, - and 3 to 12 digits, such as CASE-0815"
    )


def actor(text: str) -> str:
    """Who acts, by role and number: ``dpo-1``.

    Raises:
        IdError: it does not fit.
    """
    return _fitting(text, ACTOR, "actor", "a role of 2 to 8 small letters, - and a number, such as dpo-1")


def model(text: str) -> str:
    """Name of a line of models: ``clip``.

    Raises:
        IdError: it does not fit.
    """
    return _fitting(text, MODEL, "model", "1 to 32 small letters, digits or _, such as clip")


def _fitting(text: str, pattern: re.Pattern[str], what: str, rule: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise IdError(f"{what} {_shown(text)} is refused; write {rule}")
    return text


def _shown(text: object) -> str:
    """A short, plain form: what is refused may hold a name, a control character or ten megabytes."""
    plain = ascii(str(text)[: LONGEST_SHOWN + 1])
    return plain if len(str(text)) <= LONGEST_SHOWN else f"{plain[:LONGEST_SHOWN]}…'"


def data_folder(text: str, root: Path) -> Path:
    """The folder of a request's images, below ``root``.

    Args:
        text: relative path with ``/``.
        root: folder that all requests' data lies in.

    Raises:
        IdError: it is absolute, leads out, has an odd part, or passes a symbolic link.
    """
    parts = PurePosixPath(text).parts if isinstance(text, str) and len(text) <= LONGEST_PATH else ()
    if not parts or not all(PART.fullmatch(part) for part in parts) or "/".join(parts) != text:
        raise IdError(
            f"data folder {_shown(text)} is refused; write a path relative to {root}, of letters, digits, "
            "_, . and -, without '..'"
        )
    path = root.joinpath(*parts)
    places = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    linked = [place for place in places if place.is_symlink()]
    linked += [place for place in path.rglob("*") if place.is_symlink()] if path.is_dir() else []
    if linked:
        raise IdError(f"data folder '{text}' holds a symbolic link; copy the files there instead")
    return path
