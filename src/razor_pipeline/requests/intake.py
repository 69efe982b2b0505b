"""What comes in: one request's fields, or a CSV of many. Nothing else is read, and nothing is guessed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from razor_pipeline.params.base import Params, composed
from razor_pipeline.params.data import Concept
from razor_pipeline.requests import ids
from razor_pipeline.requests.deadlines import Basis

LARGEST_CSV = 1 << 20  # bytes
MOST_ROWS = 10_000
LONGEST_TARGET = 200


class Intake(Params):
    """One request as it is submitted.

    Attributes:
        target: label or caption of what is to be forgotten, its accents and blanks spelt as refusals repeat them; it
            stays in the request's row and goes nowhere else.
        requester: number of the case in the system that knows the person.
        model: line of models that is to forget.
        kind: of the target.
        basis: what the request rests on.
        data: folder of images of the target, relative to ``requests.data_root``; none where the model's data has
            them.
        received: day of receipt in UTC; today where none is given.
        due: last day to answer, for the basis ``other``.
        id: of the request; the next free one where none is given.
    """

    target: Annotated[str, Field(min_length=1, max_length=LONGEST_TARGET)]
    requester: str
    model: str
    kind: Literal["identity", "style", "object", "combination", "class"] = "identity"
    basis: Basis = Basis.GDPR
    data: str | None = None
    received: date | None = None
    due: date | None = None
    id: str | None = None

    @field_validator("target")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable() or "|" in value or value != value.strip():
            raise ValueError("it should be one printable line without | and without blanks around it")
        return composed(" ".join(value.split()))

    @field_validator("requester")
    @classmethod
    def _reference(cls, value: str) -> str:
        return ids.reference(value)

    @field_validator("model")
    @classmethod
    def _model(cls, value: str) -> str:
        return ids.model(value)

    @field_validator("id")
    @classmethod
    def _id(cls, value: str | None) -> str | None:
        return value if value is None else ids.request_id(value)

    @field_validator("data")
    @classmethod
    def _data(cls, value: str | None) -> str | None:
        if value is not None:
            # Its form; where the root lies is not known here, and whether a link is in it is looked at when it is read.
            ids.data_folder(value, Path("requests.data_root"))
        return value


class IntakeError(ValueError):
    """A CSV cannot be used; the message names the row and the fix."""


def usual_kind(family: str, concept: Concept) -> str:
    """The kind of target that a line of models is asked to forget, where a request names none."""
    if concept != "label":
        return concept
    return "object" if family.startswith("diffusion") else "class" if family == "vit" else "identity"


def read_csv(file: Path, given: Mapping[str, str]) -> list[Intake]:
    """All rows of a CSV with a header: ``target, requester`` and any other field of :class:`Intake`.

    Args:
        file: UTF-8, at most 1 MiB.
        given: fields for rows that leave theirs empty, the model at least.

    Raises:
        IntakeError: the file or a row is refused; nothing was recorded.
    """
    try:
        rows = list(enumerate(csv.DictReader(io.StringIO(_text(file)), strict=True, restkey="more"), start=2))
    except csv.Error as error:
        raise IntakeError(f"{file.name} is no CSV ({error}); save it as CSV in UTF-8") from error
    known = set(Intake.model_fields)
    names = set(rows[0][1]) - {"more"} if rows else set()
    if not rows or not {"target", "requester"} <= names or names - known:
        raise IntakeError(
            f"{file.name} needs a header with target and requester, may have "
            f"{', '.join(sorted(known - {'target', 'requester'}))}, and at least one row"
        )
    if len(rows) > MOST_ROWS:
        raise IntakeError(f"{file.name} has more than {MOST_ROWS} rows; split it")
    return [_intake(file, number, row, given) for number, row in rows]


def _text(file: Path) -> str:
    if file.stat().st_size > LARGEST_CSV:
        raise IntakeError(f"{file.name} has {file.stat().st_size} bytes, more than {LARGEST_CSV}; split it")
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise IntakeError(f"{file.name} is not UTF-8 text; save it as CSV in UTF-8") from error


def _intake(file: Path, number: int, row: dict[str, str], given: Mapping[str, str]) -> Intake:
    if "more" in row or None in row.values():
        raise IntakeError(f"{file.name}, row {number}: it has not as many cells as the header; quote commas")
    own = {name: cell for name, cell in row.items() if cell}  # an empty cell means that nothing is given
    try:
        return Intake.model_validate({**given, **own})
    except ValueError as error:
        raise IntakeError(f"{file.name}, row {number}: {error}") from error
