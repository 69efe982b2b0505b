"""A real MLflow server that is killed while a batch runs: the batch ends, and a later command makes up for it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from mlflow import MlflowClient, artifacts

from razor_pipeline.requests import chain
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.registry import registered_name
from razor_pipeline.requests.signing import make_keys
from razor_pipeline.requests.states import Status
from unlearning.places import TARGETS, approved, champion, small_project

PATIENCE = 900.0  # seconds, for a machine with other work


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@contextmanager
def server(root: Path, port: int) -> Iterator[Callable[[], None]]:
    """An MLflow server over the store in ``root``; yields what kills it with all its workers."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    store = ["--workers", "1", "--backend-store-uri", f"sqlite:///{root}/server.db"]
    process = subprocess.Popen(
        [*command, *store, "--artifacts-destination", str(root / "store")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def kill() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        until(lambda: answers(port) or process.poll() is not None)
        yield kill
    finally:
        kill()


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False


def test_a_server_killed_in_the_middle_costs_nothing_but_a_sync(tmp_path: Path) -> None:
    root = small_project(tmp_path / "project")
    make_keys(root / "conf/local/evidence_key.pem", root / "conf/local/evidence_key.pub.pem")
    ledger = Ledger(open_database(f"sqlite:///{root}/data/requests.db"))
    names = approved(ledger, *TARGETS[:2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    kedro = [str(Path(sys.executable).with_name("kedro")), "unlearning"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(root / "src")}

    def command(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*kedro, *arguments, "--json"],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    with server(tmp_path, port) as kill:
        run = command("run")
        until(lambda: ledger.get(names[0]).state is Status.RUNNING or run.poll() is not None)
        kill()
        out, log = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, log[-3000:]
    assert [row["status"] for row in json.loads(out)] == ["promoted", "promoted"]
    assert "was not reached" in log
    assert "tracking server was lost" in log
    assert (root / "data/08_reporting/requests/dashboard.html").is_file()
    early = command("sync")
    assert json.loads(early.communicate(timeout=PATIENCE)[0]) == {"synced": False}  # control: it is down
    assert early.returncode == 1

    with server(tmp_path, port):
        late = command("sync")
        assert json.loads(late.communicate(timeout=PATIENCE)[0]) == {"synced": True}
        client = MlflowClient(address)
        name = registered_name("clip")
        assert len(client.search_model_versions(f"name='{name}'")) == 3
        serving = client.get_model_version_by_alias(name, "champion")
        stored = Path(
            artifacts.download_artifacts(serving.source, dst_path=str(tmp_path), tracking_uri=address)
        )
        assert chain.directory_sha256(stored) == champion(ledger).weights
        assert {item.path for item in client.list_artifacts(str(serving.run_id))} == {"evidence", "model"}
