"""Refused parameters as sentences: the key, its value, the rule and, for a misspelt key, the nearest one."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

LONGEST_SHOWN = 200  # characters of a refused value


class ParameterError(ValueError):
    """A parameter group is not valid; the message names each wrong key."""


class WholeSentenceError(ValueError):
    """A value is refused in a sentence that names what it is and shows it, so that neither is said before it."""


def refusal(error: ValidationError, model: type[BaseModel]) -> str:
    """All faults that pydantic found, in one line."""
    return "; ".join(_sentence(dict(fault), model) for fault in error.errors(include_url=False))


def unknown_key(key: str, known: Collection[str]) -> str:
    """A sentence for a key, dotted where it lies in a group, whose last part is none of those ``known`` there."""
    parent, _, last = key.rpartition(".")
    near = get_close_matches(last, known, 1, 0.5)
    meant = f"did you mean '{'.'.join(filter(None, (parent, near[0])))}'?" if near else ""
    return f"'{key}' is no parameter; {meant or 'there are ' + ', '.join(sorted(known))}"


def _sentence(fault: dict[str, Any], model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return unknown_key(key, _fields(model, fault["loc"][:-1]))
    if fault["type"] == "missing":  # pydantic's input is the whole record, which may hold a name
        return f"{key} is missing"
    if fault["type"] == "model_type":  # pydantic's rule names a class, which says nothing to who writes YAML
        keys = ", ".join(_fields(model, fault["loc"]))
        return f"{key or 'it'} should be a group of keys ({keys}), and is {_shown(fault['input'])}"
    if isinstance(told := fault.get("ctx", {}).get("error"), WholeSentenceError):
        return str(told)
    rule = fault["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"{key} is {_shown(fault['input'])}, but {rule}" if key else rule


def _shown(value: Any) -> str:
    """A value as it was written; of a long one the start."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _fields(model: Any, path: tuple[Any, ...]) -> list[str]:
    """Names that are allowed at a path of keys."""
    for part in path:
        fields = getattr(model, "model_fields", {})
        # The keys of a mapping are names that are given, and what it holds is a record or another mapping.
        model = _record(fields[part].annotation) if part in fields else model
    return list(getattr(model, "model_fields", {}))


def _record(annotation: Any) -> Any:
    """The record that an annotation is, or may be, or holds."""
    inner = [_record(one) for one in get_args(annotation)]
    return next((one for one in (annotation, *inner) if hasattr(one, "model_fields")), None)
