"""One tracked run: opened with its parameters, closed with its datasets or with the reason of its failure."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
from kedro.pipeline import Pipeline
from mlflow.entities import Metric, Param

from razor_pipeline.fingerprint import commit
from razor_pipeline.runner import PARAMETERS, Catalog
from razor_pipeline.tracking.datasets import DatasetLog
from razor_pipeline.tracking.flatten import flatten
from razor_pipeline.tracking.process import age_seconds, identity
from razor_pipeline.tracking.settings import TrackingSettings
from razor_pipeline.tracking.store import FAILURE, LONGEST_TAG, PROCESS, open_store, reap

logger = logging.getLogger(__name__)
BATCH = 100  # parameters of one request
LONGEST_NAME = 250  # characters of a run's name that a database takes


class TrackedRun:
    """A run in the tracking store.

    Args:
        settings: where and what.
        project: root of the project.
        run_params: Kedro's record of the command.
        pipeline: what is to run.
        catalog: its datasets.

    Raises:
        ConnectionError: the store does not answer.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        project: Path,
        run_params: Mapping[str, Any],
        pipeline: Pipeline,
        catalog: Catalog,
    ) -> None:
        self.settings, self.project, self.pipeline, self.catalog = settings, project, pipeline, catalog
        uri = settings.uri(project)
        self.client, experiment_id = open_store(uri, settings.experiment, project)
        mlflow.set_tracking_uri(uri)
        for run_id in reap(self.client, experiment_id):
            logger.warning("MLflow run %s belonged to a process that was killed; it is marked KILLED", run_id)
        parameters = catalog.load("parameters") if catalog.get("parameters") is not None else {}
        tags = {**settings.tags, **self._command_tags(run_params), **self._parameter_tags(parameters)}
        run = self.client.create_run(experiment_id, tags={**tags, PROCESS: identity()}, run_name=_name(tags))
        self.run_id: str = run.info.run_id
        atexit.register(self._killed)
        self._seconds: dict[str, float] = {}
        try:
            self._log_parameters(parameters)
        except Exception as error:
            with suppress(Exception):  # a store that is gone by now must not hide the failure itself
                self.fail(error)
            self.leave()
            raise

    def step_done(self, name: str, seconds: float) -> None:
        """Note how long a step took; a step that was up to date has no such metric.

        It is written when the run ends: between two steps no server is needed.
        """
        self._seconds[f"seconds/{name}"] = seconds

    def finish(self) -> None:
        """Write the datasets, also those of steps that were up to date, and close the run.

        ``framework_share`` is the part of the wall time since the process started that was spent outside of the
        steps: imports, Kedro, loading and saving, tracking.
        """
        limit = self.settings.artifact_limit_mb
        log = DatasetLog(self.client, self.run_id, self.catalog, self.project, limit)
        log.write(self.pipeline.datasets(), self.pipeline.all_outputs())
        seconds = age_seconds()
        shares = {"run_seconds": seconds, "framework_share": 1.0 - sum(self._seconds.values()) / seconds}
        self._log_metrics(self._seconds | shares if self._seconds else {})
        self._close("FINISHED")

    def _log_metrics(self, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(k, v, now, 0) for k, v in values.items()])

    def fail(self, error: BaseException) -> None:
        """Close the run with the reason of its failure."""
        self._log_metrics(self._seconds)
        self._close("FAILED", f"{type(error).__name__}: {error}")

    def leave(self) -> None:
        """Give the run up; the next one on this machine marks it as killed."""
        atexit.unregister(self._killed)

    def _killed(self) -> None:
        """The interpreter ends and nothing has closed the run: the person at the keyboard interrupted it."""
        self._close("KILLED", "interrupted")

    def _close(self, status: str, reason: str | None = None) -> None:
        atexit.unregister(self._killed)
        if reason:
            self.client.set_tag(self.run_id, FAILURE, reason[:LONGEST_TAG])
        self.client.set_terminated(self.run_id, status)

    def _command_tags(self, run_params: Mapping[str, Any]) -> dict[str, str]:
        names = run_params.get("pipeline_names") or ["__default__"]
        tags = {"kedro.pipelines": ", ".join(names), "kedro.env": str(run_params.get("env") or "base")}
        if found := commit(self.project):
            tags["mlflow.source.git.commit"] = found
        return {**tags, "mlflow.source.name": "kedro run", "mlflow.source.type": "PROJECT"}

    def _parameter_tags(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Those of parameters that the steps read; another pipeline's target says nothing about this run."""
        read = {name.partition(":")[2] for name in self.pipeline.inputs() if name.startswith("params:")}
        names = [name for name in self.settings.parameter_tags if name in read and name in parameters]
        chosen = {name: parameters[name] for name in names}
        return flatten(
            {name: "|".join(map(str, v)) if isinstance(v, list) else v for name, v in chosen.items()}
        )

    def _log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Those that the pipeline's steps read, validated, with their defaults."""
        names = {name for name in self.pipeline.inputs() if name.startswith(PARAMETERS)}
        groups = {name.partition(":")[2].partition(".")[0] for name in names}
        used = parameters if "parameters" in names else {k: v for k, v in parameters.items() if k in groups}
        params = [Param(key, value) for key, value in flatten(used).items()]
        for start in range(0, len(params), BATCH):
            self.client.log_batch(self.run_id, params=params[start : start + BATCH])


def _name(tags: Mapping[str, str]) -> str:
    """What the run is called in the list of runs."""
    pipelines = tags["kedro.pipelines"].replace("__default__", "").strip(", ")
    name = ": ".join(part for part in (pipelines, tags.get("target", "")) if part) or "run"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
