"""Nested parameters and summaries as the flat names that MLflow stores."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from razor_pipeline.params.base import without_passwords

LONGEST = 6000  # characters of a parameter's value that MLflow takes
REFUSED = re.compile(r"[^\w.\- :]")  # in a parameter's name; a slash only in some places
UNMEASURED = re.compile(r"[^\w.\- :/]")  # in a metric's name


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """``{"razor": RazorParams(...)}`` as ``{"razor.scoring.alpha": "0.5", ...}``, defaults included.

    A list is one value, as JSON. A value that MLflow would cut is cut here, with its hash. A character that it refuses
    in a name is ``_``: a variant ``lambda=0`` is found under ``lambda_0``. Passwords of addresses are left out.
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        if isinstance(plain, Mapping) and plain:
            flat |= flatten(plain, f"{prefix}{key}.")
        else:
            flat[REFUSED.sub("_", f"{prefix}{key}")] = _text(plain)
    return flat


def _text(value: Any) -> str:
    said = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = without_passwords(said)
    if len(text) <= LONGEST:
        return text
    mark = f"… sha256 {hashlib.sha256(text.encode()).hexdigest()}"
    return text[: LONGEST - len(mark)] + mark


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among a mapping's values, nested ones by their dotted names."""
    found: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= numbers({f"{key}.{name}": number for name, number in value.items()})
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[UNMEASURED.sub("_", key)] = float(value)
    return found
