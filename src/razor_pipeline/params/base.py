"""What all parameter records share: the closed, frozen base, the ranges that recur, and differences laid over one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from copy import deepcopy
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from razor_pipeline.param_errors import ParameterError, refusal

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Recognised = Annotated[float, Field(ge=0.0, lt=1.0)]  # a limit of 1 would let the unedited model pass
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Scheme = Literal["int8", "int4", "nf4"]
PASSWORD = re.compile(r"(?<=://)([^/?#\s@:]*):[^@\s\"']*@")  # of an address, behind its user


def _separated(value: Any) -> Any:
    """``"A|B"`` and a number alone as a list: ``kedro run --params`` has no way to write one with a comma."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split("|"))
    return (value,) if isinstance(value, int | float) else value


def composed(text: str) -> str:
    """A name in the one spelling of its accents (NFC): a Mac writes an accent behind its letter, Linux mostly in it."""
    return unicodedata.normalize("NFC", text)


def without_passwords(text: str) -> str:
    """A text in which addresses have *** for their passwords."""
    return PASSWORD.sub(r"\1:***@", text)


Several = BeforeValidator(_separated)
Names = Annotated[tuple[Annotated[str, AfterValidator(composed)], ...], Several]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), Several]
Schemes = Annotated[tuple[Scheme, ...], Several]


class Params(BaseModel):
    """Base of every parameter group: immutable, and closed to unknown keys, NaN and infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """As pydantic's; a refusal is a sentence that names the key, the value and the rule.

        Raises:
            ParameterError: a key is unknown or a value not allowed.
        """
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise ParameterError(refusal(error, cls)) from error

    @model_validator(mode="before")
    @classmethod
    def _over_the_fields_default(cls, given: Any) -> Any:
        """What is not given of a nested record is as in its field's default, which may differ from the record's own."""
        if not isinstance(given, Mapping):
            return given
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return {
            name: overlaid(defaults[name].model_dump(exclude_unset=True), value)
            if isinstance(value, Mapping) and isinstance(defaults.get(name), Params)
            else value
            for name, value in given.items()
        }


def overlaid(base: Mapping[str, Any], diff: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with what ``diff`` says instead; a key of either may hold keys."""
    merged = deepcopy(dict(base))
    for key, value in diff.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = overlaid(merged[key], value) if nested else value
    return merged
