"""Catalogued datasets as artifacts, inputs, metrics, images and models of a run.

What a dataset becomes beside an artifact stands in the catalog, in its ``metadata.mlflow``:
``input: true`` (a data set with a digest), ``steps: <column>`` (each row's numbers are metrics at that step),
``metrics: true`` (its numbers are metrics), ``tags: [<key>]``, ``image: true``, ``model: true``,
``upload: false`` (noted by path and sha256 only, because its rows name people), ``runs: [<column>]`` (each row is a
nested run, named by these columns; one with a reason under ``failed`` has failed).
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from PIL import Image

from razor_pipeline.fingerprint import content_sha256
from razor_pipeline.runner import Catalog, dataset_path
from razor_pipeline.tracking.flatten import numbers
from razor_pipeline.tracking.store import FAILURE, LONGEST_TAG

MEGABYTE = 1e6
FOLDER = "data"
DIGEST = 36  # characters that MLflow keeps of a digest
METRICS = 1000  # of one request


class DatasetLog:
    """Writes the datasets of one run.

    Args:
        client: of the tracking store.
        run_id: the run.
        catalog: where the datasets are.
        project: paths are noted relative to it.
        limit_mb: larger ones are noted, not uploaded.
    """

    def __init__(
        self, client: MlflowClient, run_id: str, catalog: Catalog, project: Path, limit_mb: float
    ) -> None:
        self.client, self.run_id, self.catalog = client, run_id, catalog
        self.project, self.limit = project.resolve(), limit_mb * MEGABYTE

    def write(self, names: Iterable[str], made_here: set[str]) -> None:
        """Write all datasets that lie on disk.

        Args:
            names: of the datasets around the run's steps.
            made_here: those of them that the run made; the others are noted, not uploaded.
        """
        noted = {}
        for name in sorted(names):
            path = dataset_path(self.catalog, name)
            if path is not None and path.exists():
                noted[name] = self._note(name, path, name in made_here)
                self._describe(name, path, noted[name]["sha256"])
        self.client.log_dict(self.run_id, noted, "datasets.json")

    def _note(self, name: str, path: Path, made_here: bool) -> dict[str, Any]:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        uploaded = made_here and size <= self.limit and self._wanted(name).get("upload", True)
        if uploaded and path.is_file():
            self.client.log_artifact(self.run_id, str(path), f"{FOLDER}/{name}")
        elif uploaded:
            self.client.log_artifacts(self.run_id, str(path), f"{FOLDER}/{name}")
        inside = path.resolve().is_relative_to(self.project)
        return {
            "path": str(path.resolve().relative_to(self.project) if inside else path),
            "bytes": size,
            "sha256": content_sha256(path),
            "artifact": f"{FOLDER}/{name}" if uploaded else None,
        }

    def _wanted(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = getattr(self.catalog.get(name), "metadata", None) or {}
        return found.get("mlflow") or {}

    def _describe(self, name: str, path: Path, sha256: str) -> None:
        dataset: Any = self.catalog.get(name)
        wanted = self._wanted(name)
        if "steps" in wanted:
            self._steps(name, dataset.load(), wanted["steps"])
        if wanted.get("metrics") or wanted.get("tags"):
            self._summary(dataset.load(), wanted)
        if wanted.get("input"):
            self._input(name, dataset.load(), path, sha256)
        if "runs" in wanted:
            self._runs(dataset.load(), wanted["runs"])
        if wanted.get("image"):
            with Image.open(io.BytesIO(path.read_bytes())) as image:
                self.client.log_image(self.run_id, image.convert("RGB"), key=name, step=0)
        if wanted.get("model"):
            self._model(name, path, sha256)

    def _steps(self, name: str, table: pd.DataFrame, column: str) -> None:
        now = int(time.time() * 1000)
        self.metrics(
            [
                Metric(f"{name}/{key}", value, now, int(row[column]))
                for row in table.to_dict("records")
                for key, value in numbers({str(key): value for key, value in row.items()}).items()
                if key != column
            ]
        )

    def _runs(self, table: pd.DataFrame, columns: list[str]) -> None:
        experiment_id = self.client.get_run(self.run_id).info.experiment_id
        for row in table.to_dict("records"):
            names = {column: str(row[column]) for column in columns}
            tags = {MLFLOW_PARENT_RUN_ID: self.run_id, **names}
            run = self.client.create_run(experiment_id, tags=tags, run_name=", ".join(names.values()))
            now = int(time.time() * 1000)
            figures = numbers({str(key): value for key, value in row.items() if key not in columns})
            self.client.log_batch(
                run.info.run_id,
                metrics=[Metric(key, value, now, 0) for key, value in figures.items()],
                params=[Param(key, value) for key, value in names.items()],
            )
            reason = row.get("failed")
            if isinstance(reason, str):
                self.client.set_tag(run.info.run_id, FAILURE, reason[:LONGEST_TAG])
            self.client.set_terminated(run.info.run_id, "FAILED" if isinstance(reason, str) else "FINISHED")

    def _summary(self, values: dict[str, Any], wanted: dict[str, Any]) -> None:
        now = int(time.time() * 1000)
        if wanted.get("metrics"):
            self.metrics([Metric(key, value, now, 0) for key, value in numbers(values).items()])
        tags = [RunTag(key, str(values[key])) for key in wanted.get("tags", ()) if key in values]
        self.client.log_batch(self.run_id, tags=tags)

    def metrics(self, metrics: list[Metric]) -> None:
        """Write metrics in as many requests as they need."""
        for start in range(0, len(metrics), METRICS):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + METRICS])

    def _input(self, name: str, table: pd.DataFrame, path: Path, sha256: str) -> None:
        plain = table[[column for column in table if not _binary(table[column])]]
        dataset = from_pandas(plain, source=str(path), name=name, digest=sha256[:DIGEST])
        context = InputTag("mlflow.data.context", name)
        self.client.log_inputs(self.run_id, [DatasetInput(dataset._to_mlflow_entity(), [context])])

    def _model(self, name: str, path: Path, sha256: str) -> None:
        experiment_id = self.client.get_run(self.run_id).info.experiment_id
        tags = {"path": str(path), "sha256": sha256}
        model = mlflow.create_external_model(name, self.run_id, tags=tags, experiment_id=experiment_id)
        self.client.log_outputs(self.run_id, [LoggedModelOutput(model.model_id, step=0)])


def _binary(column: pd.Series[Any]) -> bool:
    """Whether a column holds bytes, or nothing where other rows would hold theirs."""
    return len(column) > 0 and (isinstance(column.iloc[0], bytes) or bool(column.isna().all()))
