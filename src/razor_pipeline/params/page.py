"""The page of all parameters, made from their records.

``python -m razor_pipeline.params.page > docs/parameters.md`` writes it; a test compares.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from razor_pipeline.params.base import Params
from razor_pipeline.params.data import AtelierParams, DataParams, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams, QuantizationParams, ReportingParams
from razor_pipeline.params.pretraining import PretrainingParams, RetrainingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.params.studies import (
    AblationParams,
    BenchmarkParams,
    BenchParams,
    ConceptsParams,
    MemoryParams,
    RobustnessParams,
    SequenceParams,
    StudyParams,
)

GROUPS: dict[str, type[Params]] = {
    "atelier": AtelierParams,
    "data": DataParams,
    "splitting": SplittingParams,
    "razor": RazorParams,
    "quantization": QuantizationParams,
    "evaluation": EvaluationParams,
    "reporting": ReportingParams,
    "requests": RequestsParams,
    "pretraining": PretrainingParams,
    "retraining": RetrainingParams,
    "identities": StudyParams,
    "concepts": ConceptsParams,
    "sequence": SequenceParams,
    "ablation": AblationParams,
    "benchmark": BenchmarkParams,
    "robustness": RobustnessParams,
    "bench": BenchParams,
    "memory": MemoryParams,
}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
INTRODUCTION = """# Parameters

Made from `src/razor_pipeline/params/` by `python -m razor_pipeline.params.page > docs/parameters.md`.

Set one at the command line, `kedro run --params "razor.components=24,data.seed=1"`, or in
`conf/<environment>/parameters.yml`. A group that an environment's file names replaces that of `conf/base` as a whole;
keys that it leaves out have the defaults below, not what `conf/base` sets. `--params` changes single keys; several
names or numbers are separated by `|`. Unknown keys and values out of range are refused before anything runs.

Beside the groups: `target` (a name, several separated by `|`, or a caption), `seed`, `device` (`auto`, `cpu`, `cuda`,
`cuda:<number>`), `prompts`, `model` and `revision` (a directory, or a hub id with its full commit).
"""


def page() -> str:
    """The page as Markdown, a section per group."""
    return "\n".join([INTRODUCTION, *(_section(name, record) for name, record in GROUPS.items())])


def _section(name: str, record: type[Params]) -> str:
    rows = "\n".join(f"| `{key}` | {default} | {allowed} |" for key, default, allowed in _rows(record))
    texts = "\n\n".join(dict.fromkeys(_texts(record)))
    return f"## {name}\n\n{texts}\n\n| `{name}.` | default | allowed |\n|---|---|---|\n{rows}\n"


def _texts(record: type[Params], prefix: str = "") -> Iterator[str]:
    """What the docstrings of a record and of those within it say."""
    said = inspect.cleandoc(record.__doc__ or "")
    said = re.sub(r"\s*\(:mod:`razor_pipeline\.[^)]*\)", "", said).replace("``", "`")
    said = re.sub(r"\bNone\b", "null", said)
    said = re.sub(r"\nAttributes:\n((?:    .*\n?)+)", _listed, said)
    yield f"`{prefix}`: {said}" if prefix else said
    for name, field in record.model_fields.items():
        if inner := _record(field.annotation):
            yield from _texts(inner, f"{prefix}.{name}" if prefix else name)


def _listed(attributes: re.Match[str]) -> str:
    """A docstring's attributes as a list."""
    lines = inspect.cleandoc(attributes[1]).splitlines()
    return "\n" + "\n".join(
        line if line.startswith(" ") else f"- `{line.partition(':')[0]}`:{line.partition(':')[2]}"
        for line in lines
    )


def _rows(
    record: type[Params], prefix: str = "", given: Params | None = None
) -> Iterator[tuple[str, str, str]]:
    """Key, default and what is allowed; within a record those of the ``given`` one, which a default may be."""
    for name, field in record.model_fields.items():
        key, inner = f"{prefix}{name}", _record(field.annotation)
        default = (
            getattr(given, name)
            if given
            else None
            if field.is_required()
            else field.get_default(call_default_factory=True)
        )
        if not isinstance(default, Params):
            yield key, _written(default, field), _allowed(field.annotation, field.metadata)
        if inner is not None:
            yield from _rows(inner, f"{key}.", default if isinstance(default, Params) else None)


def _record(annotation: Any) -> type[Params] | None:
    """The record that a field holds, or may hold."""
    found = [
        one for one in (annotation, *get_args(annotation)) if inspect.isclass(one) and issubclass(one, Params)
    ]
    return found[0] if found and get_origin(annotation) in (None, Union, UnionType) else None


def _written(default: Any, field: FieldInfo) -> str:
    return "needed" if field.is_required() else f"`{json.dumps(default, default=str, ensure_ascii=False)}`"


def _allowed(annotation: Any, metadata: Iterable[Any]) -> str:
    """What a value may be, in words."""
    flat = [one for each in metadata for one in (each.metadata if isinstance(each, FieldInfo) else (each,))]
    bounds = [
        f"{sign} {getattr(one, name):g}"
        for one in flat
        for name, sign in BOUNDS.items()
        if hasattr(one, name)
    ]
    return ", ".join([_kind(annotation), *bounds])


def _kind(annotation: Any) -> str:
    arguments, origin = get_args(annotation), get_origin(annotation)
    if hasattr(annotation, "__metadata__"):
        return _allowed(arguments[0], arguments[1:])
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin in (Union, UnionType):
        return " or ".join("null" if one is NoneType else _kind(one) for one in arguments)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"{_kind(arguments[0])} → {_kind(arguments[1])}"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return names.get(annotation, "mapping")


if __name__ == "__main__":
    print(page(), end="")
