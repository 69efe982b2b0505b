"""Nightly: run the requests that are approved, one Kedro process each, then report on gates and deadlines.

It runs in Airflow's own virtual environment and imports nothing of the project. The environment says where that is:

    RAZOR_PROJECT  root of the project
    RAZOR_KEDRO    its kedro; RAZOR_PROJECT/.venv/bin/kedro where none is named
    RAZOR_ENV      its configuration, e.g. enterprise; none for the default
    RAZOR_ALERT    a command that gets each alert on its standard input, e.g. "mail -s unlearning dpo@example.org"

The pool `accelerators`, which `make airflow` makes, has one slot: a line of models takes one worker at a time, and a
request that waits for the line would hold a slot.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.exceptions import AirflowFailException
from airflow.sdk import dag, task

POOL = "accelerators"
WAIT = 6 * 3600  # seconds that a request waits for another one on the same line of models
SOON = 7  # days before a deadline from which the report alerts
DUE = ("running", "approved")


def kedro(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`kedro unlearning …` in the project's own environment."""
    project = Path(os.environ["RAZOR_PROJECT"])
    command = os.environ.get("RAZOR_KEDRO") or str(project / ".venv/bin/kedro")
    env = ["--env", os.environ["RAZOR_ENV"]] if os.environ.get("RAZOR_ENV") else []
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "_AIRFLOW"))
    }
    return subprocess.run(
        [command, "unlearning", *env, *arguments],
        cwd=project,
        env={**inherited, "KEDRO_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def answer(*arguments: str) -> Any:
    """What a command prints as JSON; its log is on standard error.

    Raises:
        RuntimeError: it printed none; with the end of its log.
    """
    done = kedro(*arguments, "--json")
    print(done.stderr)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise RuntimeError(f"kedro unlearning {' '.join(arguments)}: {done.stderr.strip()[-500:]}") from error


def alert(sentence: str) -> None:
    """Hand a sentence to the alert command; ids and dates only, never a name."""
    print(sentence)
    if os.environ.get("RAZOR_ALERT"):
        subprocess.run(
            shlex.split(os.environ["RAZOR_ALERT"]), input=sentence + "\n", text=True, check=True, timeout=60
        )


def failed(context: Any) -> None:
    """Airflow's callback for a task that has failed for good."""
    alert(f"{context['task_instance'].task_id} failed; see its log, then docs/operations.md")


@dag(
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1), "on_failure_callback": failed},
    tags=["unlearning"],
    doc_md=__doc__,
)
def unlearning() -> None:
    """Due requests, one process each; then gates, registry and deadlines."""

    @task(execution_timeout=timedelta(minutes=10))
    def due() -> list[str]:
        """Approved requests, the most urgent first, and those that a killed worker left."""
        return [row["id"] for status in DUE for row in answer("list", "--status", status)]

    @task(pool=POOL, execution_timeout=timedelta(hours=8), map_index_template="{{ request }}")
    def run(request: str) -> str:
        """Edit, measure, hold against the gates, promote."""
        from airflow.sdk import get_current_context

        get_current_context()["request"] = request
        # It may have ended with a batch that a killed worker left and another task took up.
        [row] = [row for row in answer("list") if row["id"] == request]
        if row["status"] in DUE:
            [row] = answer("run", "--request", request, "--wait", str(WAIT))
        if row["status"] == "failed":  # the same again would end the same: no retry
            raise AirflowFailException(f"{request} failed: {row['reason']}")
        return f"{request} {row['status']}"

    @task(trigger_rule="all_done", execution_timeout=timedelta(minutes=10))
    def gate(requests: list[str]) -> list[str]:
        """What did not pass waits for a person."""
        failing = [row["id"] for row in answer("list", "--status", "failed")]
        here = [request for request in requests or [] if request in failing]
        if here:
            alert(f"{len(here)} requests failed a gate tonight: {', '.join(here)}")
        return here

    @task(trigger_rule="all_done", execution_timeout=timedelta(minutes=10))
    def promote() -> bool:
        """Let MLflow's aliases follow what the ledger has promoted; a server that is down is tried again."""
        if not answer("sync")["synced"]:
            raise RuntimeError("MLflow's registry was not reached; results are on disk, sync later")
        return True

    @task(trigger_rule="all_done", execution_timeout=timedelta(minutes=10))
    def deadlines() -> int:
        """Tell of what is late or soon will be."""
        rows = [row for row in answer("list") if row["days_left"] is not None]
        late = [f"{row['id']} ({row['days_left']} days left)" for row in rows if row["days_left"] <= SOON]
        if late:
            alert(f"{len(late)} requests are overdue or due within {SOON} days: {', '.join(late)}")
        return len(late)

    requests = due()
    ran = run.expand(request=requests)
    gated = gate(requests)
    ran >> gated >> promote() >> deadlines()


unlearning()
