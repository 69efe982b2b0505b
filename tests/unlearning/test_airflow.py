"""The nightly DAG, run for real by Airflow in its own environment, on a copy of the project."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from unlearning.places import small_project

ROOT = Path(__file__).parents[2]
AIRFLOW = Path(os.environ.get("RAZOR_AIRFLOW", ROOT / ".airflow/bin/airflow"))
pytestmark = pytest.mark.skipif(not AIRFLOW.exists(), reason="no Airflow: make airflow-install")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_project(tmp_path_factory.mktemp("night"))


def environment(project: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIRFLOW_HOME": str(project / "airflow_home"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "airflow/dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "RAZOR_PROJECT": str(project),
        "RAZOR_KEDRO": str(Path(sys.executable).with_name("kedro")),
        "RAZOR_ACTOR": "ops-1",
        "RAZOR_ALERT": f"tee -a {project}/alerts.txt",
        "PYTHONPATH": str(project / "src"),
    }


def command(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        arguments, cwd=project, env=environment(project), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_a_night_runs_what_is_approved_and_tells_what_is_late(project: Path) -> None:
    kedro = environment(project)["RAZOR_KEDRO"]
    command(project, kedro, "unlearning", "key")
    for target, day in (
        ("Greta Novak", "2020-01-31"),
        ("Zeno Castell", "2020-01-31"),
        ("Hiro Tanaka", "2020-01-31"),
    ):
        command(project, kedro, "unlearning", "submit", target, "--requester", "CASE-0815", "--received", day)
    known, stranger, waiting = (f"REQ-{datetime.now(UTC).year}-{number:04d}" for number in (1, 2, 3))
    for name in (known, stranger):
        command(project, kedro, "unlearning", "approve", name, "--actor", "dpo-1")
    command(project, str(AIRFLOW), "db", "migrate")
    command(project, str(AIRFLOW), "pools", "set", "accelerators", "1", "test")
    command(project, str(AIRFLOW), "dags", "test", "unlearning")
    rows = json.loads(command(project, kedro, "unlearning", "list", "--json"))
    found = {row["id"]: row["status"] for row in rows}
    assert found == {known: "promoted", stranger: "no_baseline", waiting: "validated"}
    told = (project / "alerts.txt").read_text()
    assert waiting in told
    assert "overdue" in told
    assert known not in told
    assert "Tanaka" not in told
    assert (project / "data/08_reporting/requests/dashboard.html").is_file()
