"""The tracking store: where it is, and that it survives being opened by several processes at once."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.rest_utils import verify_rest_response
from pydantic import ValidationError
from requests import ConnectTimeout, HTTPError, Response

from razor_pipeline.cli import tracking
from razor_pipeline.hooks import MlflowHooks
from razor_pipeline.tracking.settings import TrackingSettings
from razor_pipeline.tracking.store import is_lost, open_store

OPEN = """
import sys
from pathlib import Path
from razor_pipeline.tracking.store import open_store
client, experiment = open_store(sys.argv[1], "toy", Path(sys.argv[2]))
print(experiment, client.create_run(experiment).info.run_id)
"""


def test_several_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    """Without the lock, those that migrate a new database together fail."""
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    command = [sys.executable, "-c", OPEN, uri, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    experiments = {out.split()[0] for out, _ in outputs}
    assert len(experiments) == 1
    assert len(MlflowClient(uri).search_runs([experiments.pop().decode()])) == 3


def test_a_process_that_is_killed_while_it_makes_the_tables_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    uri, making = f"sqlite:///{tmp_path / 'runs.db'}", tmp_path / "runs.db.making"
    process = subprocess.Popen([sys.executable, "-c", OPEN, uri, str(tmp_path)], stderr=subprocess.DEVNULL)
    while not making.exists():
        assert process.poll() is None
    time.sleep(0.05)
    process.kill()
    process.wait()
    assert making.exists()
    assert not (tmp_path / "runs.db").exists()
    open_store(uri, "toy", tmp_path)
    assert not making.exists()


def test_a_database_that_mlflow_cannot_read_is_named(tmp_path: Path) -> None:
    """As one that was left half made is: its tables are there, and MLflow would make them again."""
    database = tmp_path / "runs.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER)")
    with pytest.raises(ConnectionError, match=r"the tracking store 'sqlite:.*runs.db' cannot be opened"):
        open_store(f"sqlite:///{database}", "toy", tmp_path)


def test_artifacts_lie_in_the_project_and_a_deleted_experiment_is_restored(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    client, experiment = open_store(uri, "toy", tmp_path)
    location = client.get_experiment(experiment).artifact_location
    assert location == (tmp_path / "mlartifacts").as_uri()
    client.delete_experiment(experiment)
    assert open_store(uri, "toy", tmp_path)[1] == experiment
    assert client.get_experiment(experiment).lifecycle_stage == "active"


def test_a_project_that_has_moved_begins_another_experiment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """MLflow would go on writing artifacts to where the project was."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    client, first = open_store(uri, "toy", here)
    here.rename(there)
    _, second = open_store(uri, "toy", there)
    assert second != first
    assert client.get_experiment(second).artifact_location == (there / "mlartifacts").as_uri()
    assert client.get_experiment(first).name.startswith(f"toy {first}, until ")
    assert f"was at {(here / 'mlartifacts').as_uri()}" in caplog.text
    assert open_store(uri, "toy", there)[1] == second  # control
    client.delete_experiment(second)
    for place, other in (
        (here, there),
        (there, here),
    ):  # back and forth, the first time with what was deleted
        other.rename(place)
        _, latest = open_store(uri, "toy", place)
        assert client.get_experiment(latest).artifact_location == (place / "mlartifacts").as_uri()


@pytest.mark.parametrize(("status", "lost"), [(413, False), (403, False), (502, True), (504, True)])
def test_a_server_that_answers_and_refuses_is_not_lost(status: int, lost: bool) -> None:
    answer = Response()
    answer.status_code, answer._content = status, b"<html>a page, as a proxy sends it</html>"
    assert is_lost(HTTPError(response=answer)) is lost
    with pytest.raises(MlflowException) as caught:
        verify_rest_response(answer, "/api/2.0/mlflow/runs/update")
    assert is_lost(caught.value) is lost
    assert is_lost(ConnectTimeout())  # control: no answer at all


def test_a_server_that_nobody_reaches_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException) as caught:
        MlflowClient("http://127.0.0.1:9").search_experiments()
    assert is_lost(caught.value)
    page = Response()
    page.status_code, page._content = 200, b"<html>sign in first</html>"
    with pytest.raises(MlflowException) as caught:
        verify_rest_response(page, "/api/2.0/mlflow/runs/update")
    assert not is_lost(caught.value)  # control: somebody answers


@pytest.mark.parametrize("uri", ["nowhere://x", "sqlite:////proc/none/runs.db"])
def test_a_store_that_does_not_open_is_named_with_the_setting(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match="tracking_uri") as caught:
        open_store(uri, "toy", tmp_path)
    assert uri in str(caught.value)


def test_a_password_in_the_address_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        ConnectionError, match=r"http://worker:\*\*\*@127\.0\.0\.1:9' cannot be opened"
    ) as caught:
        open_store("http://worker:hunter2@127.0.0.1:9", "toy", tmp_path)
    assert "hunter2" not in str(caught.value)


def test_the_address_is_one_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert TrackingSettings().uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert TrackingSettings(tracking_uri="http://server:5000").uri(tmp_path) == "http://server:5000"
    assert TrackingSettings(tracking_uri="sqlite:///x/y.db").uri(tmp_path) == f"sqlite:///{tmp_path}/x/y.db"
    assert TrackingSettings(tracking_uri="sqlite:////x/y.db").uri(tmp_path) == "sqlite:////x/y.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other")
    assert TrackingSettings(tracking_uri="http://server:5000").uri(tmp_path) == "http://other"


@pytest.mark.parametrize("uri", ["http://server:5000", "https://server/mlflow"])
def test_the_page_of_a_server_is_named_and_a_database_gets_one(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(
        "kedro.framework.cli.utils.python_call", lambda _, arguments: started.append(arguments)
    )
    monkeypatch.setattr("razor_pipeline.tracking.settings.project_settings", lambda *_: TrackingSettings())
    project = SimpleNamespace(project_path=tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    told = CliRunner().invoke(tracking, obj=project)
    assert (told.exit_code, told.output) == (
        0,
        f"The runs are tracked on a server; open {uri} in a browser\n",
    )
    assert started == []
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert CliRunner().invoke(tracking, obj=project).exit_code == 0
    assert started[0][-2:] == ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="artifact_limit"):
        TrackingSettings(artifact_limit=3)  # type: ignore[call-arg]


def test_a_store_that_is_gone_does_not_hide_why_the_run_failed(caplog: pytest.LogCaptureFixture) -> None:
    left = []

    class Gone:
        def fail(self, error: Exception) -> None:
            raise OSError(f"no such database for {error}")

        def leave(self) -> None:
            left.append(self)

    hooks = MlflowHooks()
    hooks._run = Gone()  # type: ignore[assignment]
    hooks.on_pipeline_error(ValueError("the reason"))
    assert "no such database" in caplog.text
    assert left  # nobody asks it again when the interpreter ends
