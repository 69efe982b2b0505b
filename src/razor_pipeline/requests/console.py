"""What the commands share: the configured ledger, options, tables, and refusals as one sentence."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from razor_pipeline.params.data import AtelierParams, DataParams
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests import audit, ids
from razor_pipeline.requests.database import reason
from razor_pipeline.requests.ledger import SYSTEM, Ledger, LedgerError
from razor_pipeline.requests.places import ANCHORS, DASHBOARD, at, open_ledger, own
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import Champion, Request

ACTOR = "RAZOR_ACTOR"
SOON = 7  # days
UNFOLDED = 100_000  # characters of a line


@dataclass
class Desk:
    """Where the commands of one environment work.

    Attributes:
        project: root of the project.
        env: name of the configuration; None for the default.
    """

    project: Path
    env: str | None

    @cached_property
    def loader(self) -> Any:
        """The configuration."""
        from kedro.framework.project import settings

        source = str(self.project / settings.CONF_SOURCE)
        arguments = settings.CONFIG_LOADER_ARGS
        return settings.CONFIG_LOADER_CLASS(source, env=self.env, **arguments)

    @cached_property
    def params(self) -> RequestsParams:
        """Parameters of the requests, with paths that begin at the project."""
        return at(RequestsParams.model_validate(self.loader["parameters"]["requests"]), self.project)

    @property
    def family(self) -> str:
        """Of the model of this environment."""
        return str(self.loader["globals"]["model"]["family"])

    def check_family(self) -> None:
        """Refuse an environment whose model could not be examined.

        Raises:
            LedgerError: it could not.
        """
        from razor_pipeline.requests.validation import check_family

        check_family(self.family, self.loader["globals"]["judges"], self.params.gates)

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return open_ledger(self.params)

    @property
    def has_model(self) -> bool:
        """Whether the line's base model has been noted, by its first run."""
        with self.ledger.reading() as session:
            return session.get(Champion, self.params.model) is not None

    @cached_property
    def listing(self) -> Any:
        """What the model's data knows, without opening an image."""
        from razor_pipeline.datasets.sources import listing

        return listing(self.data, AtelierParams.model_validate(self.loader["parameters"]["atelier"]))

    @property
    def data(self) -> DataParams:
        """Where the model's data is, and what requests name in it."""
        return DataParams.model_validate(self.loader["parameters"]["data"])

    @property
    def anchors(self) -> Path:
        """Heads of the audit log, noted outside of the database."""
        return Path(self.params.reports) / ANCHORS

    def anchor(self) -> None:
        """Note the head of the audit log, and draw the dashboard anew: something has changed."""
        from razor_pipeline.datasets.atomic import replace_file
        from razor_pipeline.requests.dashboard import render_dashboard

        own(self.ledger, self.params)
        audit.write_anchor(self.anchors, *self.ledger.head())
        page = Path(self.params.reports) / DASHBOARD
        with replace_file(page) as beside:
            beside.write_text(render_dashboard(self.ledger, page, Path(self.params.folder)), encoding="utf-8")

    def mirror(self) -> bool:
        """Let MLflow's registry follow the ledger.

        Warnings of a server that does not answer go to standard error, so that standard output is the answer alone.
        """
        from razor_pipeline.tracking.settings import quiet_mlflow, read_settings

        quiet_mlflow()
        from razor_pipeline.requests.registry import Registry

        uri = read_settings(self.loader).uri(self.project)
        with redirect_stdout(sys.stderr):
            return Registry(uri, self.project).mirror(self.ledger, self.params.model)

    def request(self, name: str) -> Request:
        """A request of this environment's line: who approves on another, and where its images are, is not known here.

        Raises:
            LedgerError: it is unknown, or for another line.
        """
        request = self.ledger.get(name)
        if request.model != self.params.model:
            raise LedgerError(f"{name} is for the line '{request.model}'; name its environment with --env")
        return request

    def check_can_run(self, names: Sequence[str]) -> list[str]:
        """Ids that a run will work on.

        Raises:
            LedgerError: one cannot be run, or none is there to run; or the model could not be examined.
        """
        from razor_pipeline.requests import signing

        self.check_family()
        signing.check_key(Path(self.params.private_key))
        for name in names:
            request = self.request(name)
            if request.state not in (Status.APPROVED, Status.RUNNING, Status.PROMOTED, Status.VERIFIED):
                raise LedgerError(
                    f"{name} is {request.status}; approve it first: kedro unlearning approve {name}"
                )
        due = self.ledger.requests(self.params.model, Status.APPROVED, Status.RUNNING)
        return list(names) or [request.id for request in due]

    def kedro_run(self, changes: dict[str, Any]) -> None:
        """`kedro run --pipelines requests` with changed parameters of the requests."""
        from kedro.framework.session import KedroSession

        from razor_pipeline.runner import ResumingRunner

        session = KedroSession.create(self.project, env=self.env, runtime_params={"requests": changes})
        # What a run logs goes to standard error, so that standard output is the answer alone.
        with redirect_stdout(sys.stderr), session:
            session.run(pipeline_names=["requests"], runner=ResumingRunner())


def refusals(command: Callable[..., None]) -> Callable[..., None]:
    """Hand the command its desk, and tell what a person can put right without a traceback.

    It runs at the project's root, where the ledger's paths begin, wherever it was typed.
    """

    @click.pass_obj
    @functools.wraps(command)
    def told(desk: Desk, *arguments: Any, **options: Any) -> None:
        from kedro.config import MissingConfigException
        from kedro.io import DatasetError
        from kedro.validation.exceptions import ParameterValidationError
        from sqlalchemy.exc import SQLAlchemyError

        kedros = (DatasetError, MissingConfigException, ParameterValidationError)
        known = (ValueError, ConnectionError, RuntimeError, OSError, *kedros)
        try:
            with chdir(desk.project):
                command(desk, *arguments, **options)
        except click.exceptions.Exit:
            raise
        except known as error:
            raise click.ClickException(str(error)) from error
        except SQLAlchemyError as error:  # its own text has the statement
            raise click.ClickException(
                f"the ledger's database refused ({reason(error)}); nothing was changed: try again once that is mended"
            ) from error

    return told


def acting(command: Callable[..., None]) -> Callable[..., None]:
    """Ask who acts."""

    def checked(_: click.Context, __: click.Parameter, value: str | None) -> str:
        if value is None:
            raise click.UsageError(f"say who acts: --actor ops-1, or set {ACTOR}")
        if value == SYSTEM:
            raise click.BadParameter(
                f"{SYSTEM} stands for what no person decides; say who you are, e.g. ops-1"
            )
        try:
            return ids.actor(value)
        except ids.IdError as error:
            raise click.BadParameter(str(error)) from error

    option = click.option("--actor", envvar=ACTOR, callback=checked, help="Role and number, e.g. dpo-1.")
    return option(command)


def _checked_id(_: click.Context, __: click.Parameter, value: Any) -> Any:
    try:
        if isinstance(value, tuple):
            return tuple(ids.request_id(one) for one in value)
        return value if value is None else ids.request_id(value)
    except ids.IdError as error:
        raise click.BadParameter(str(error)) from error


# The request that a command is about, or may be about.
request_option = click.argument("name", metavar="REQ", callback=_checked_id)
some_requests = click.argument("names", metavar="REQ...", nargs=-1, required=True, callback=_checked_id)
optional_request = click.argument("name", metavar="[REQ]", required=False, callback=_checked_id)


def speaking(command: Callable[..., None]) -> Callable[..., None]:
    """Offer JSON."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def facts(request: Request, today: date, full: bool = False) -> dict[str, Any]:
    """A request as JSON; the target only where one request is asked for."""
    found: dict[str, Any] = {
        "id": request.id,
        "status": request.status,
        "days_left": request.days_left(today),
        "due": request.deadline.isoformat(),
        "model": request.model,
        "kind": request.kind,
        "basis": request.basis,
        "requester": request.requester,
        "received": request.received.isoformat(),
        "reason": request.reason,
        "version": request.version,
    }
    return (
        found | {"target": request.target, "data": request.data, "purged": request.purged} if full else found
    )


NO_REQUEST = "no request; record one with `kedro unlearning submit`"


def standing(desk: Desk, requests: Sequence[Request], as_json: bool, none: str = NO_REQUEST) -> None:
    """Where requests stand; ``none`` is said where there are none."""
    rows = [facts(request, desk.ledger.today()) for request in requests]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        click.echo(none)
        return
    columns = ["id", "status", "days_left", "due", "basis", "kind", "requester", "reason"]
    table = [["" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    show_table(
        [name.replace("_", " ") for name in columns], table, [_colour(row["days_left"]) for row in rows]
    )


def _colour(days: int | None) -> str | None:
    if days is None:
        return "dim"
    return "red" if days < 0 else "yellow" if days <= SOON else None


def show_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str | None] = ()
) -> None:
    """Print a table; nothing of a cell is taken for markup, and only a terminal has an edge to fold it at."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for place, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in row), style=styles[place] if styles else None)
    console = Console()
    if not console.is_terminal:
        console.width = UNFOLDED
    console.print(table)
