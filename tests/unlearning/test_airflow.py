"""The nightly DAG, run for real by Airflow in its own environment, on a copy of the project."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.tables import Batch
from unlearning.places import small_project, typed

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


def airflow(project: Path, *arguments: str) -> None:
    done = subprocess.run(
        [AIRFLOW, *arguments],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def leave_open(project: Path, requests: list[str]) -> None:
    """A batch of these requests, as a killed worker leaves it."""
    ledger = Ledger(open_database(f"sqlite:///{project}/data/requests.db"))
    with ledger.writing() as session:
        session.add(Batch(model="clip", parent=0, requests=json.dumps(requests), closed=False))


def test_a_night_runs_what_is_approved_and_tells_what_is_late(project: Path) -> None:
    """The task of the first request ends the second one's too, with the batch that was left; its own finds it done."""
    typed(project, "key")
    for target in ("Greta Novak", "Zeno Castell", "Hiro Tanaka"):
        typed(project, "submit", target, "--requester", "CASE-0815", "--received", "2020-01-31")
    known, stranger, waiting = (f"REQ-{datetime.now(UTC).year}-{number:04d}" for number in (1, 2, 3))
    for name in (known, stranger):
        typed(project, "approve", name)
    leave_open(project, [known, stranger])
    airflow(project, "db", "migrate")
    airflow(project, "pools", "set", "accelerators", "1", "test")
    airflow(project, "dags", "test", "unlearning")
    rows = json.loads(typed(project, "list", "--json").output)
    found = {row["id"]: row["status"] for row in rows}
    assert found == {known: "promoted", stranger: "no_baseline", waiting: "validated"}
    told = (project / "alerts.txt").read_text()
    assert waiting in told
    assert "overdue" in told
    assert "run failed" not in told
    assert known not in told
    assert "Tanaka" not in told
    assert (project / "data/08_reporting/requests/dashboard.html").is_file()
