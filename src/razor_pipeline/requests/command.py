"""`kedro unlearning`: requests from receipt to evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from kedro.framework.startup import ProjectMetadata

from razor_pipeline.requests import upkeep
from razor_pipeline.requests.console import (
    NO_REQUEST,
    Desk,
    acting,
    facts,
    optional_request,
    refusals,
    request_option,
    show_table,
    some_requests,
    speaking,
    standing,
)
from razor_pipeline.requests.ledger import LedgerError
from razor_pipeline.requests.states import EXTENDING, Reason, Status, TransitionError

REASONS = click.Choice([str(reason) for reason in Reason])
EXTENSIONS = click.Choice([str(reason) for reason in EXTENDING])


@click.group()
@click.option("--env", help="Configuration: the line in its globals.yml is one line of models.")
@click.pass_context
def unlearning(context: click.Context, env: str | None) -> None:
    """Requests to forget: submit, approve, run, verify, roll back."""
    metadata: ProjectMetadata = context.obj
    context.obj = Desk(Path(metadata.project_path), env)


@unlearning.command()
@click.argument("target", required=False)
@click.option("--requester", help="Number of the case that knows the person, e.g. CASE-0815.")
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="Many at once.",
)
@click.option("--model", help="Line of models; that of the environment where none is given.")
@click.option(
    "--kind",
    help="identity, style, object, combination or class; that of the environment where none is given.",
)
@click.option("--basis", help="gdpr, ccpa or other; gdpr where none is given.")
@click.option("--data", help="Folder of images of the target below requests.data_root.")
@click.option("--received", help="Day of receipt, YYYY-MM-DD; today where none is given.")
@click.option("--due", help="Last day to answer, for the basis other.")
@click.option("--id", "name", help="REQ-YYYY-NNNN; the next free one where none is given.")
@acting
@speaking
@refusals
def submit(
    desk: Desk, target: str | None, table: Path | None, actor: str, as_json: bool, **fields: Any
) -> None:
    """Record a request for TARGET, or all rows of a CSV, or none of them.

    With --csv, --model, --kind, --basis, --received and --due hold for the rows that leave theirs empty.
    """
    from razor_pipeline.requests.intake import Intake, read_csv, usual_kind
    from razor_pipeline.requests.submission import submit_all
    from razor_pipeline.requests.validation import check_line, check_target, validate

    if (target is None) == (table is None):
        raise click.UsageError(
            'give either a target, e.g. submit "Ada Moreau" --requester CASE-0815, or --csv'
        )
    desk.check_family()
    fields = {key: value for key, value in fields.items() if value is not None}
    fields.setdefault("kind", usual_kind(desk.family, desk.data.concept))
    model = fields.pop("model", None) or desk.params.model
    if table is not None:
        if own := sorted({"requester", "data", "name"} & set(fields)):
            option = "id" if own[0] == "name" else own[0]
            raise click.UsageError(
                f"--{option} is one request's own; give it in the column {option} of the CSV"
            )
        intakes = read_csv(table, {"model": model, **fields})
    else:
        fields = {"id": fields.pop("name"), **fields} if "name" in fields else fields
        intakes = [Intake.model_validate({"target": target, "model": model, **fields})]
    for line in {intake.model for intake in intakes}:
        check_line(desk.ledger, desk.params.model, line)
    for intake in intakes:
        if intake.model == desk.params.model:
            check_target(desk.listing, intake, desk.family, desk.data.concept)
    params = desk.params
    submitted = submit_all(desk.ledger, intakes, actor, params.approvals, params.promotion)
    made = [request.id for request in submitted]
    missing = validate(desk.ledger, desk.params.model, Path(desk.params.data_root))
    desk.anchor()
    requests = [desk.ledger.get(name) for name in made]
    standing(desk, requests, as_json)
    for name in made:
        if missing.get(name) and not as_json:
            click.echo(f"{name}: {missing[name]}")


@unlearning.command("list")
@click.option("--status", type=click.Choice([str(status) for status in Status]), help="Only these.")
@click.option("--all-models", is_flag=True, help="Those of every line, not only of this environment's.")
@speaking
@refusals
def list_requests(desk: Desk, status: str | None, all_models: bool, as_json: bool) -> None:
    """Every request, the most urgent first."""
    among = [Status(status)] if status else []
    none = f"no request is {status}" if status else NO_REQUEST
    standing(desk, desk.ledger.requests(None if all_models else desk.params.model, *among), as_json, none)


@unlearning.command()
@request_option
@speaking
@refusals
def show(desk: Desk, name: str, as_json: bool) -> None:
    """One request with its history."""
    request = desk.ledger.get(name)
    history = [
        {
            "line": line.seq,
            "at": line.at,
            "actor": line.actor,
            "action": line.action,
            **json.loads(line.details),
        }
        for line in desk.ledger.history(name)
    ]
    if as_json:
        click.echo(
            json.dumps({**facts(request, desk.ledger.today(), full=True), "history": history}, indent=1)
        )
        return
    for key, value in facts(request, desk.ledger.today(), full=True).items():
        click.echo(f"{key:10} {'' if value is None else value}")
    rows = [
        [str(row.pop(key)) for key in ("line", "at", "actor", "action")]
        + [", ".join(f"{key} {value}" for key, value in row.items())]
        for row in history
    ]
    show_table(["line", "at", "actor", "action", "details"], rows)


@unlearning.command()
@some_requests
@acting
@speaking
@refusals
def approve(desk: Desk, names: tuple[str, ...], actor: str, as_json: bool) -> None:
    """Approve that requests are run or, once they are verified, that their models serve.

    One that cannot be approved does not keep the others from it.
    """
    from razor_pipeline.requests.validation import validate

    names = tuple(dict.fromkeys(names))
    for name in names:
        desk.request(name)  # another line's approvals are not for this environment to count
    missing = validate(desk.ledger, desk.params.model, Path(desk.params.data_root))
    refused: dict[str, str] = {}
    for name in names:
        try:
            _approve(desk, name, actor, missing.get(name))
        except (LedgerError, TransitionError) as error:
            refused[name] = str(error)
    desk.anchor()
    if done := [desk.ledger.get(name) for name in names if name not in refused]:
        standing(desk, done, as_json)
    if refused:
        raise click.ClickException("\n".join(refused.values()))


def _approve(desk: Desk, name: str, actor: str, missing: str | None) -> None:
    from razor_pipeline.requests.promotion import approve_promotion

    needed = desk.params.approvals
    if missing:
        raise LedgerError(f"{name} is not ready to be approved: {missing}")
    if desk.ledger.get(name).state is Status.VERIFIED:
        approve_promotion(desk.ledger, name, actor, needed)
        desk.mirror()
    else:
        desk.ledger.approve(name, actor, needed)


@unlearning.command()
@request_option
@click.option("--reason", type=REASONS, required=True, help="Why.")
@acting
@speaking
@refusals
def reject(desk: Desk, name: str, reason: str, actor: str, as_json: bool) -> None:
    """Close a request without an edit."""
    waited = desk.request(name).state is Status.VERIFIED
    request = desk.ledger.reject(name, actor, Reason(reason))
    if waited:  # it is no candidate any more
        desk.mirror()
    desk.anchor()
    standing(desk, [request], as_json)


@unlearning.command()
@request_option
@click.option("--reason", type=EXTENSIONS, required=True, help="Why; the requester must be told.")
@acting
@speaking
@refusals
def extend(desk: Desk, name: str, reason: str, actor: str, as_json: bool) -> None:
    """Take the one extension that the law knows: GDPR two months, CCPA 45 days."""
    request = desk.ledger.extend(desk.request(name).id, actor, Reason(reason))
    desk.anchor()
    standing(desk, [request], as_json)


@unlearning.command()
@click.option("--request", "names", multiple=True, metavar="REQ", help="Only this one; may be repeated.")
@click.option(
    "--wait",
    type=float,
    help="Seconds to wait for another worker on the line or another run in this folder; else requests.wait_seconds.",
)
@speaking
@refusals
def run(desk: Desk, names: tuple[str, ...], wait: float | None, as_json: bool) -> None:
    """Run what is approved: edit, measure, hold against the gates, promote."""
    before = desk.check_can_run(names)
    head, _ = desk.ledger.head()
    if before or not desk.has_model:
        desk.kedro_run({"only": list(names)} | ({} if wait is None else {"wait_seconds": wait}))
    else:  # a night without requests prepares no data
        desk.mirror()
        desk.anchor()
    # A run takes what is approved while it goes on, too, unless it is told what to run.
    meanwhile = [] if names else desk.ledger.begun_behind(head, desk.params.model)
    requests = [desk.ledger.get(name) for name in dict.fromkeys([*before, *meanwhile])]
    waiting = len(desk.ledger.requests(desk.params.model, Status.VALIDATED))
    some = f"; {waiting} validated, waiting for `kedro unlearning approve`" if waiting else ""
    standing(desk, requests, as_json, f"nothing is approved{some}")
    if any(request.state is Status.FAILED for request in requests):
        raise click.exceptions.Exit(1)


@unlearning.command()
@optional_request
@click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, resolve_path=True),
    help="Public key; the configured one if none.",
)
@speaking
@refusals
def verify(desk: Desk, name: str | None, key: Path | None, as_json: bool) -> None:
    """Check the evidence of a request, or of what serves: signature, hashes, gates, and that parent plus edit is it.

    Of a request that only failed, the last attempt that was measured is checked.
    """
    from razor_pipeline.requests.verification import verify_champion, verify_request

    public = key or Path(desk.params.public_key)
    if name is None:
        found = verify_champion(desk.ledger, desk.params.model, public)
    else:
        found = verify_request(desk.ledger, name, public, Path(desk.params.folder))
    if as_json:
        click.echo(json.dumps({"request": name, "checks": [{"check": w, "fault": f} for w, f in found]}))
    else:
        show_table(["check", ""], [[what, fault or "holds"] for what, fault in found])
    if any(fault for _, fault in found):
        raise click.exceptions.Exit(1)


@unlearning.command()
@optional_request
@acting
@speaking
@refusals
def rollback(desk: Desk, name: str | None, actor: str, as_json: bool) -> None:
    """Let the previous version serve again or, for one request, take its edit out of the model that serves."""
    from razor_pipeline.requests.promotion import restore_previous

    if name is None:
        version = restore_previous(desk.ledger, desk.params.model, actor)
        desk.mirror()
        desk.anchor()
        told = {"model": desk.params.model, "version": version.number}
        click.echo(
            json.dumps(told) if as_json else f"version {version.number} of {desk.params.model} serves again"
        )
        return
    request = desk.request(name)
    if request.state is not Status.PROMOTED:
        raise click.ClickException(f"{name} is {request.status}; only a promoted request is rolled back")
    desk.kedro_run({"take_out": name, "actor": actor})
    request = desk.ledger.get(name)
    standing(desk, [request], as_json)
    if request.state is not Status.ROLLED_BACK:
        raise click.ClickException(
            f"the model without {name} fails a gate and does not serve; see `kedro unlearning show {name}`, restore "
            "the previous version with `kedro unlearning rollback`, or run the later requests again"
        )


@unlearning.command()
@request_option
@acting
@speaking
@click.confirmation_option(prompt="The target's name and images are deleted for good. Go on?")
@refusals
def purge(desk: Desk, name: str, actor: str, as_json: bool) -> None:
    """Delete what is personal of a finished request; the evidence stays."""
    from razor_pipeline.requests.purge import purge as remove

    root, data = Path(desk.params.data_root), desk.request(name).data
    request = remove(desk.ledger, name, actor, root, desk.params.lease_seconds)
    desk.anchor()
    standing(desk, [request], as_json)
    if data and (root / data).is_dir() and not as_json:
        click.echo("the images stay: another request names their folder, and they go with the last of these")


for command in (upkeep.audit, upkeep.cost, upkeep.key, upkeep.sync):
    unlearning.add_command(command)
