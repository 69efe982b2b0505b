"""What opening a run writes, and what becomes of one that cannot be opened, in a real MLflow store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from razor_pipeline.tracking.run import TrackedRun
from razor_pipeline.tracking.settings import TrackingSettings
from razor_pipeline.tracking.store import FAILURE

SETTINGS = TrackingSettings(experiment="toy", parameter_tags=("target",))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("project")
    mlflow.set_tracking_uri(None)  # opening a run sets it for the whole process


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def nothing(*_: object) -> None:
    pass


def opened(project: Path, **parameters: Any) -> Run:
    """The run in the store, once it was opened with these parameters."""
    given = {f"params:{name}": MemoryDataset(value) for name, value in parameters.items()}
    catalog = DataCatalog({**given, "parameters": MemoryDataset(parameters)})
    run = TrackedRun(
        SETTINGS, project, {}, Pipeline([Node(nothing, list(given), None, name="step")]), catalog
    )
    run.leave()
    return run.client.get_run(run.run_id)


def newest(project: Path) -> Run:
    client = MlflowClient(SETTINGS.uri(project))
    experiment = client.get_experiment_by_name("toy")
    [run] = client.search_runs([experiment.experiment_id], max_results=1)
    return run


def test_a_run_is_tracked_where_git_is_not_installed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    tags = opened(project, seed=3).data.tags
    assert "mlflow.source.git.commit" not in tags
    assert tags["mlflow.source.name"] == "kedro run"


def test_targets_that_are_no_texts_get_as_far_as_the_step_that_refuses_them(project: Path) -> None:
    assert opened(project, target=[3, 5]).data.tags["target"] == "3|5"
    assert opened(project, target=["Ada Moreau", "Greta Novak"]).data.tags["target"] == (
        "Ada Moreau|Greta Novak"
    )


def test_so_many_targets_that_no_tag_holds_them_are_cut(project: Path) -> None:
    names = "|".join(f"Person Number {i}" for i in range(600))
    run = opened(project, target=names)
    assert len(names) > 8000 > len(run.data.tags["target"])
    assert run.data.tags["target"].startswith("Person Number 0|Person Number 1|")
    assert len(run.info.run_name) == 250


def test_names_that_users_choose_are_parameters(project: Path) -> None:
    variants = {"lambda=0": {"step": 1}, "a//b": {"step": 2}, "größer 2": {"step": 3}}
    assert opened(project, ablation={"variants": variants}).data.params == {
        "ablation.variants.lambda_0.step": "1",
        "ablation.variants.a__b.step": "2",
        "ablation.variants.größer 2.step": "3",
    }


def test_a_run_whose_parameters_are_not_taken_has_failed_and_says_why(project: Path) -> None:
    with pytest.raises(MlflowException, match="exceeds the maximum length"):
        opened(project, toy={"x" * 300: 1})
    run = newest(project)
    assert run.info.status == "FAILED"
    assert "exceeds the maximum length" in run.data.tags[FAILURE]


def test_a_store_that_is_gone_does_not_hide_why_a_run_was_not_opened(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise OSError("no such database")

    monkeypatch.setattr(TrackedRun, "fail", gone)
    with pytest.raises(MlflowException, match="exceeds the maximum length"):
        opened(project, toy={"x" * 300: 1})
