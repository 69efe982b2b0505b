"""The tracking store: opened once at a time, and rid of runs whose process is gone."""

from __future__ import annotations

import fcntl
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import HTTPError, RequestException
from sqlalchemy.exc import SQLAlchemyError

from razor_pipeline.params.base import without_passwords
from razor_pipeline.tracking.process import is_gone
from razor_pipeline.tracking.settings import SQLITE

logger = logging.getLogger(__name__)
PROCESS = "razor.process"
FAILURE = "failure"
LONGEST_TAG = 5000
UNANSWERED = (502, 503, 504)
# MLflow has one class of error for all of it, and says in words what it was.
REFUSED = re.compile(r"API request to \S+( \S+)? failed with error code (?P<status>\d+)")
NO_ANSWER = re.compile(r"API request to \S+ failed with (timeout )?exception")


def open_store(uri: str, experiment: str, project: Path) -> tuple[MlflowClient, str]:
    """A client and the experiment's id, made where it is missing.

    Raises:
        ConnectionError: the store does not answer; names it, but no password, and the setting.
    """
    try:
        with _alone(uri):
            client = MlflowClient(uri)
            return client, _experiment_id(client, experiment, project if uri.startswith(SQLITE) else None)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise ConnectionError(
            without_passwords(
                f"the tracking store '{uri}' cannot be opened; correct tracking_uri in mlflow.yml (of conf/base or of "
                f"the environment) or MLFLOW_TRACKING_URI ({error})"
            )
        ) from error


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One process at a time opens a database: two that migrate a new one at once both fail."""
    if not uri.startswith(SQLITE):
        yield
        return
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not database.exists():
            _make(database)
        yield


def _make(database: Path) -> None:
    """Make the tables beside, and move them into place: MLflow can't go on with those of a process that was killed."""
    making = database.with_name(f"{database.name}.making")
    for left in database.parent.glob(f"{making.name}*"):
        left.unlink()
    MlflowClient(f"{SQLITE}{making}").search_experiments()
    making.replace(database)


def _experiment_id(client: MlflowClient, name: str, project: Path | None) -> str:
    place = (project / "mlartifacts").resolve().as_uri() if project else None
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:  # another process made it in between, on a server that no lock guards
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if place is not None and found.artifact_location != place:
        # MLflow knows no way to say that artifacts have moved, and would go on writing to where they were.
        # The id, since a project may move back and forth.
        before = f"{name} {found.experiment_id}, until {found.artifact_location}"
        client.rename_experiment(found.experiment_id, before)
        logger.warning(
            "This project was at %s when its experiment '%s' was made; its runs so far are '%s' now, and new ones "
            "begin another of the name.",
            found.artifact_location,
            name,
            before,
        )
        return _experiment_id(client, name, project)
    return str(found.experiment_id)


def is_lost(error: Exception) -> bool:
    """Whether a server stopped answering; one that answers and refuses is another matter.

    A proxy in front of it that says that nobody answers is no refusal.
    """
    if isinstance(error, HTTPError) and error.response is not None:
        return error.response.status_code in UNANSWERED
    if isinstance(error, MlflowException) and (refused := REFUSED.match(str(error))):
        return int(refused["status"]) in UNANSWERED
    return isinstance(error, RequestException) or (
        isinstance(error, MlflowException) and NO_ANSWER.match(str(error)) is not None
    )


def reap(client: MlflowClient, experiment_id: str) -> list[str]:
    """Mark runs as KILLED that say RUNNING though their process is gone; returns their ids."""
    running = client.search_runs([experiment_id], "attributes.status = 'RUNNING'")
    dead = [run.info.run_id for run in running if is_gone(run.data.tags.get(PROCESS, ""))]
    for run_id in dead:
        client.set_tag(run_id, FAILURE, "the process was killed")
        client.set_terminated(run_id, "KILLED")
    return dead
