"""MLflow's model registry as a mirror of the ledger: it may lag behind, it never decides."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from sqlalchemy import select

from razor_pipeline.requests import evidence
from razor_pipeline.requests.chain import EVIDENCE, champion, model_directory
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import Request, Version
from razor_pipeline.tracking.process import identity
from razor_pipeline.tracking.settings import quiet_mlflow
from razor_pipeline.tracking.store import PROCESS, open_store, reap

logger = logging.getLogger(__name__)
EXPERIMENT = "requests"
CHAMPION, CANDIDATE = "champion", "candidate"
NUMBER, WEIGHTS, REQUEST = "razor.version", "razor.weights_sha256", "razor.request"


@dataclass(frozen=True)
class Registry:
    """A tracking store and its registry.

    Attributes:
        uri: address of the store.
        project: root of the project, where a local store keeps artifacts.
    """

    uri: str
    project: Path

    def mirror(self, ledger: Ledger, model: str) -> bool:
        """Publish versions that the store does not have, and let the aliases follow the ledger; may be repeated.

        Returns:
            Whether the store took it all; where it is not reached, the next call makes up for it.
        """
        # The next call makes up for a server that is down: don't wait long for it.
        quiet_mlflow()
        try:
            client, experiment = open_store(self.uri, EXPERIMENT, self.project)
            reap(client, experiment)
            self._mirror(client, experiment, ledger, model)
        except (ConnectionError, MlflowException, OSError) as error:
            logger.warning(
                "The model registry was not reached (%s); results are on disk: run `kedro unlearning sync` later.",
                type(error).__name__,
            )
            return False
        return True

    def _mirror(self, client: MlflowClient, experiment: str, ledger: Ledger, model: str) -> None:
        with ledger.reading() as session:
            query = select(Version).where(Version.model == model).order_by(Version.number)
            versions = list(session.scalars(query))
        if not versions:  # the line's first run is still to come
            return
        name = registered_name(model)
        known = {version.tags.get(WEIGHTS, ""): version for version in _versions(client, name)}
        if not known:
            _ensure_model(client, name)
        published = {}
        for version in versions:
            key = f"{version.number}:{version.weights}"
            found = known.get(key)
            number = found.version if found else self._publish(client, experiment, name, version, key)
            published[version.number] = str(number)
            if version.registered != str(number):
                with ledger.writing() as session:
                    session.get_one(Version, version.id).registered = str(number)
        self._aliases(client, name, ledger, model, published)

    def _publish(self, client: MlflowClient, experiment: str, name: str, version: Version, key: str) -> str:
        tags = {NUMBER: str(version.number), WEIGHTS: key, REQUEST: version.request or ""}
        title = version.request or f"{version.model} {version.number}"
        run = client.create_run(experiment, tags={**tags, PROCESS: identity()}, run_name=title)
        folder = Path(version.path) / EVIDENCE
        if folder.is_dir():
            client.log_batch(run.info.run_id, metrics=list(_metrics(evidence.read(folder))))
            client.log_artifacts(run.info.run_id, str(folder), EVIDENCE)
        source = model_directory(version).resolve()
        if self.uri.startswith("http"):  # a server is to hold the model itself; a local store points to it
            client.log_artifacts(run.info.run_id, str(source), "model")
        client.set_terminated(run.info.run_id, "FINISHED")
        remote = self.uri.startswith("http")
        made = client.create_model_version(
            name,
            f"{run.info.artifact_uri}/model" if remote else source.as_uri(),
            run.info.run_id if remote else None,
            tags=tags,
        )
        return str(made.version)

    def _aliases(
        self, client: MlflowClient, name: str, ledger: Ledger, model: str, published: dict[int, str]
    ) -> None:
        with ledger.reading() as session:
            serving = champion(session, model).number
            query = select(Request.version).where(Request.model == model, Request.status == Status.VERIFIED)
            waiting = [number for number in session.scalars(query) if number is not None]
        wanted = {CHAMPION: published[serving]}
        if waiting:
            wanted[CANDIDATE] = published[max(waiting)]
        aliases = client.get_registered_model(name).aliases
        for alias, number in wanted.items():
            if str(aliases.get(alias)) != number:
                client.set_registered_model_alias(name, alias, number)
        if CANDIDATE in aliases and CANDIDATE not in wanted:
            client.delete_registered_model_alias(name, CANDIDATE)


def registered_name(model: str) -> str:
    """A line's name in the registry."""
    return f"razor_{model}"


def _versions(client: MlflowClient, name: str) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _ensure_model(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _metrics(record: dict[str, Any]) -> Iterator[Metric]:
    for model, marks in record["figures"].items():
        for metric, estimate in marks.items():
            yield Metric(f"{model}/{metric}", estimate["value"], 0, record["parent"]["number"] + 1)
