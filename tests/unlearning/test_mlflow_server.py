"""The script that starts MLflow's server, with a program in the server's place that notes what it is given."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/mlflow_server.sh"
PASSWORD = "100%sure%(x)s%%"
SERVER = """#!/usr/bin/env bash
[ "$1" = server ] || exit 0
cp "$MLFLOW_AUTH_CONFIG_PATH" auth.ini
trap 'echo ended >ended; exit 3' TERM
echo $$ >started
while true; do sleep 0.05; done
"""


def until(file: Path) -> str:
    end = time.monotonic() + 30
    while not (file.is_file() and file.read_text()):
        assert time.monotonic() < end, f"no {file.name}"
        time.sleep(0.02)
    return file.read_text()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mlflow").write_text(SERVER)
    (tmp_path / "bin/mlflow").chmod(0o700)
    (tmp_path / "admin").write_text(f"{PASSWORD}\n")
    given = {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "x",
        "RAZOR_MLFLOW_DATABASE": "sqlite:///server.db",
        "RAZOR_MLFLOW_ARTIFACTS": "store",
        "RAZOR_MLFLOW_ADMIN": "admin",
        "RAZOR_MLFLOW_AUTH_DATABASE": "postgresql+psycopg://mlflow:p%40ss@127.0.0.1/users",
    }
    process = subprocess.Popen(
        ["bash", str(SCRIPT)], cwd=tmp_path, env=os.environ | given, start_new_session=True
    )
    server = int(until(tmp_path / "started"))
    yield process
    for left in (process.pid, server):
        try:
            os.kill(left, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def test_a_password_with_signs_of_percent_reaches_the_server(
    started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    config = ConfigParser()  # as MLflow reads it
    config.read(tmp_path / "auth.ini")
    assert config["mlflow"]["admin_password"] == PASSWORD
    assert config["mlflow"]["database_uri"] == "postgresql+psycopg://mlflow:p%40ss@127.0.0.1/users"


def test_who_ends_the_script_ends_the_server_and_is_told_how_it_ended(
    started: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    started.terminate()
    assert started.wait(30) == 3
    assert (tmp_path / "ended").is_file()
