"""Real `kedro run`s of a small project, and what each leaves in a real MLflow store."""

import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from toy import kedro, make_project, results

from razor_pipeline.fingerprint import content_sha256
from razor_pipeline.tracking.store import PROCESS, reap


@dataclass
class Tracked:
    """A project and the runs that its store holds, oldest first."""

    root: Path

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.root / 'mlflow.db'}")

    @property
    def experiment(self) -> str:
        return str(self.client.get_experiment_by_name("toy").experiment_id)

    def runs(self) -> list[Run]:
        return list(self.client.search_runs([self.experiment], order_by=["attributes.start_time ASC"]))

    def run(self, *arguments: str, **variables: str) -> Run:
        self.done = kedro(self.root, "run", *arguments, **variables)
        return self.runs()[-1]

    def artifacts(self, run: Run, folder: str | None = None) -> set[str]:
        return {item.path for item in self.client.list_artifacts(run.info.run_id, folder)}


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    return Tracked(make_project(tmp_path_factory.mktemp("toy")))


@pytest.fixture(scope="module")
def first(tracked: Tracked) -> Run:
    run = tracked.run()
    assert tracked.done.returncode == 0, tracked.done.stderr
    return run


def test_the_run_is_finished_and_says_what_it_was(tracked: Tracked, first: Run) -> None:
    assert first.info.status == "FINISHED"
    wanted = {
        "family": "clip",
        "target": "Ada Moreau",
        "stop_reason": "goal",
        "kedro.pipelines": "__default__",
    }
    assert {name: first.data.tags.get(name) for name in wanted} == wanted
    assert first.info.run_name == "Ada Moreau"


def test_validated_parameters_are_flat_with_defaults_and_unused_ones_left_out(first: Run) -> None:
    assert first.data.params == {
        "seed": "3",
        "target": "Ada Moreau",
        "toy.rate": "0.5",
        "toy.inner.depth": "3",
        "toy.fail": "false",
    }


def test_each_step_of_the_search_is_a_step_metric(tracked: Tracked, first: Run) -> None:
    trace = pd.read_parquet(tracked.root / "data/trace.parquet")
    history = tracked.client.get_metric_history(first.info.run_id, "trace/loss")
    assert [(point.step, point.value) for point in history] == [
        *zip(trace["step"], trace["loss"], strict=True)
    ]


def test_the_summary_and_the_seconds_of_steps_are_metrics(tracked: Tracked, first: Run) -> None:
    summary = json.loads((tracked.root / "data/summary.json").read_text())
    assert first.data.metrics["loss"] == summary["loss"]
    assert {name for name in first.data.metrics if name.startswith("seconds/")} == {
        "seconds/draw",
        "seconds/search",
        "seconds/conclude",
    }
    in_steps = sum(value for name, value in first.data.metrics.items() if name.startswith("seconds/"))
    wall, share = first.data.metrics["run_seconds"], first.data.metrics["framework_share"]
    assert 0.0 < share < 1.0
    assert share == pytest.approx(1.0 - in_steps / wall, abs=1e-6)


def test_every_dataset_is_an_artifact_or_above_the_limit_a_hash(tracked: Tracked, first: Run) -> None:
    noted: dict[str, Any] = json.loads(
        Path(tracked.client.download_artifacts(first.info.run_id, "datasets.json")).read_text()
    )
    files = {
        "numbers": "numbers.parquet",
        "trace": "trace.parquet",
        "model": "model",
        "summary": "summary.json",
        "picture": "picture.png",
    }
    assert noted.keys() == files.keys()
    for name, file in files.items():
        assert noted[name]["path"] == f"data/{file}"
        assert noted[name]["sha256"] == content_sha256(tracked.root / "data" / file)
        assert (noted[name]["artifact"] is None) == (name == "numbers")  # it alone is above the limit
    uploaded = {"data/trace", "data/model", "data/summary", "data/picture"}
    assert tracked.artifacts(first, "data") == uploaded
    assert tracked.artifacts(first, "data/model") == {"data/model/int8.safetensors"}


def test_data_sets_are_inputs_with_the_digest_of_their_content(tracked: Tracked, first: Run) -> None:
    (found,) = first.inputs.dataset_inputs
    assert found.dataset.name == "numbers"
    assert found.dataset.digest == str(content_sha256(tracked.root / "data/numbers.parquet"))[:36]
    assert "image_bytes" not in found.dataset.schema
    assert "value" in found.dataset.schema


def test_figures_are_images_and_the_model_a_logged_model(tracked: Tracked, first: Run) -> None:
    assert any("picture" in name for name in tracked.artifacts(first, "images"))
    (model,) = tracked.client.search_logged_models([tracked.experiment])[:1]
    assert (model.name, model.source_run_id, str(model.status)) == ("model", first.info.run_id, "READY")
    assert [output.model_id for output in first.outputs.model_outputs] == [model.model_id]
    assert model.tags["sha256"] == content_sha256(tracked.root / "data/model")


def test_a_run_whose_steps_were_up_to_date_is_complete_too(tracked: Tracked, first: Run) -> None:
    before = results(tracked.root)
    second = tracked.run()
    assert second.info.run_id != first.info.run_id
    assert second.info.status == "FINISHED"
    assert not [name for name in second.data.metrics if name.startswith("seconds/")]
    of_steps = ("seconds/", "run_seconds", "framework_share")
    kept = {name: value for name, value in first.data.metrics.items() if not name.startswith(of_steps)}
    assert second.data.metrics == kept
    assert second.data.params == first.data.params
    assert tracked.artifacts(second, "data") == tracked.artifacts(first, "data")
    assert results(tracked.root) == before
    assert "search: up to date" in tracked.done.stdout


def test_a_failed_run_says_why_and_so_does_the_terminal(tracked: Tracked, first: Run) -> None:
    before = (tracked.root / "data/trace.parquet").read_bytes()
    failed = tracked.run("--params", "toy.fail=true")
    assert failed.info.status == "FAILED"
    assert failed.data.tags["failure"] == "ValueError: toy.fail is true; set it to false"
    assert failed.data.params["toy.fail"] == "true"
    assert tracked.done.returncode == 1
    assert tracked.done.stderr.strip() == "Error: toy.fail is true; set it to false"
    assert "Traceback" not in tracked.done.stdout
    assert (tracked.root / "data/trace.parquet").read_bytes() == before


def test_wrong_parameters_are_refused_before_anything_is_written(tracked: Tracked, first: Run) -> None:
    runs, before = len(tracked.runs()), results(tracked.root)
    tracked.run("--params", "toy.rate=3,toy.inner.depht=1")
    assert tracked.done.returncode == 1
    assert "rate is 3, but it should be less than or equal to 1" in tracked.done.stderr
    assert "'inner.depht' is no parameter; did you mean 'inner.depth'?" in tracked.done.stderr
    assert (len(tracked.runs()), results(tracked.root)) == (runs, before)


@pytest.mark.parametrize("place", ["search", "saving"])
def test_the_same_command_after_sigkill_gives_the_undisturbed_result(
    tmp_path: Path, tracked: Tracked, first: Run, place: str
) -> None:
    undisturbed = results(tracked.root)
    killed = Tracked(make_project(tmp_path))
    shutil.copy(tracked.root / "mlflow.db", killed.root)  # saves setting up a new one
    run = killed.run(DIE_AT=place)
    assert killed.done.returncode == -9
    assert run.info.status == "RUNNING"  # nobody could close it
    again = killed.run()
    assert killed.done.returncode == 0, killed.done.stderr
    assert "draw: up to date" in killed.done.stdout
    assert results(killed.root) == undisturbed
    assert again.info.status == "FINISHED"
    dead = killed.client.get_run(run.info.run_id)
    assert (dead.info.status, dead.data.tags["failure"]) == ("KILLED", "the process was killed")


def test_the_run_of_a_living_process_or_of_another_machine_is_not_reaped(
    tracked: Tracked, first: Run
) -> None:
    from razor_pipeline.tracking.process import identity

    elsewhere = f"other-host:{2**22 + 1}:7"
    ours = tracked.client.create_run(tracked.experiment, tags={PROCESS: identity()})
    theirs = tracked.client.create_run(tracked.experiment, tags={PROCESS: elsewhere})
    reused = tracked.client.create_run(
        tracked.experiment, tags={PROCESS: identity().rpartition(":")[0] + ":1"}
    )
    assert reap(tracked.client, tracked.experiment) == [reused.info.run_id]
    for run in (ours, theirs):
        assert tracked.client.get_run(run.info.run_id).info.status == "RUNNING"
        tracked.client.delete_run(run.info.run_id)
    tracked.client.delete_run(reused.info.run_id)


def test_nan_and_text_are_no_metrics(first: Run) -> None:
    assert all(math.isfinite(value) for value in first.data.metrics.values())
    assert "trace/stage" not in first.data.metrics
    assert os.environ.get("MLFLOW_TRACKING_URI") is None
