"""Settings of ``conf/*/mlflow.yml``."""

from __future__ import annotations

import os
from pathlib import Path

from kedro.config import AbstractConfigLoader
from pydantic import Field, PositiveFloat

from razor_pipeline.params.base import Params

SERVER = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"


class TrackingSettings(Params):
    """Where runs are tracked, and what of them.

    Attributes:
        tracking_uri: address of the MLflow server or database; None for sqlite in the project.
        experiment: name of the experiment.
        artifact_limit_mb: datasets up to this size are uploaded, larger ones noted by path and sha256.
        tags: tags of every run.
        parameter_tags: parameters whose values are tags as well.
    """

    tracking_uri: str | None = None
    experiment: str = "razor_pipeline"
    artifact_limit_mb: PositiveFloat = 8.0
    tags: dict[str, str] = Field(default_factory=dict)
    parameter_tags: tuple[str, ...] = ()

    def uri(self, project: Path) -> str:
        """The address to use; a relative sqlite path starts at the project, not at the working directory."""
        uri = os.environ.get(SERVER) or self.tracking_uri or f"{SQLITE}mlflow.db"
        place = uri.removeprefix(SQLITE)
        return f"{SQLITE}{project.resolve() / place}" if uri.startswith(SQLITE) else uri


def quiet_mlflow() -> None:
    """Set what MLflow reads of the environment, some of it when it is imported; what the user has set stays."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # of its seven: a refusal takes minutes


def read_settings(loader: AbstractConfigLoader) -> TrackingSettings:
    """The settings of an environment.

    Raises:
        ParameterError: a key is unknown or a value out of range.
    """
    return TrackingSettings.model_validate(loader["mlflow"])


def project_settings(project: Path, env: str | None = None) -> TrackingSettings:
    """The settings of a bootstrapped project, outside a run; of its default environment where none is named."""
    from kedro.framework.project import settings

    loader = settings.CONFIG_LOADER_CLASS(
        str(project / settings.CONF_SOURCE), env=env, **settings.CONFIG_LOADER_ARGS
    )
    return read_settings(loader)
