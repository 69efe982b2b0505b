"""Parameters and samples of a plugin: the same YAML, the same checks and the same data as a `kedro run` has."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from razor_pipeline.datasets.sources import image_captions
from razor_pipeline.params.base import Params
from razor_pipeline.params.data import AtelierParams, DataParams, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.splitting import parse_targets, resolve_targets, split_samples

GROUPS: dict[str, type[Params]] = {
    "atelier": AtelierParams,
    "data": DataParams,
    "splitting": SplittingParams,
    "razor": RazorParams,
    "evaluation": EvaluationParams,
}


class PluginError(ValueError):
    """A key of eval-learn's configuration is missing or unknown, or a file that it names is not there."""


def checked(given: dict[str, Any], required: tuple[str, ...], defaults: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a plugin, laid over its defaults.

    Raises:
        PluginError: one is missing, or unknown.
    """
    for name in required:
        if not given.get(name):
            raise PluginError(f"the config lacks '{name}'; it needs {', '.join(required)}")
    allowed = (*required, *defaults)
    for name in given:
        if name not in allowed:
            raise PluginError(f"the config holds '{name}', which is unknown; it takes {', '.join(allowed)}")
    return defaults | given


def parameters(path: str | None) -> dict[str, Any]:
    """Group name -> its record, and ``seed``; groups that a plugin has no use for are passed over.

    Args:
        path: a YAML file like ``conf/style/parameters.yml``; None for all defaults.

    Raises:
        PluginError: there is no such file.
        ParameterError: a key is unknown or a value not allowed.
    """
    if path is not None and not Path(path).is_file():
        raise PluginError(f"parameters '{path}' does not exist; give a file like conf/style/parameters.yml")
    found = (yaml.safe_load(Path(path).read_text(encoding="utf-8")) if path else None) or {}
    records: dict[str, Any] = {
        name: record.model_validate(found.get(name) or {}) for name, record in GROUPS.items()
    }
    return records | {"seed": int(found.get("seed", 0))}


@cache
def samples(path: str | None, target: str) -> pd.DataFrame:
    """The samples of a request, with roles, as the pipelines draw them; technique and metric of one run share them.

    Raises:
        DataError: the data cannot be used, or the target is not in it.
    """
    params = parameters(path)
    manifest, _ = image_captions(params["data"], params["atelier"])
    labels = resolve_targets(manifest, parse_targets(target), params["data"].concept)
    return split_samples(manifest, labels, params["splitting"], params["seed"])
