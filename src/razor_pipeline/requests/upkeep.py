"""The part of `kedro unlearning` that no request asks for: keys, registry, audit log, what a batch costs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from razor_pipeline.requests.console import Desk, refusals, speaking


@click.command()
@speaking
@refusals
def sync(desk: Desk, as_json: bool) -> None:
    """Bring MLflow's registry up to date with the ledger, e.g. after the server was down."""
    reached = desk.mirror()
    sentence = (
        "the registry follows the ledger" if reached else "the registry was not reached; try again later"
    )
    click.echo(json.dumps({"synced": reached}) if as_json else sentence)
    if not reached:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("targets", metavar="'A|B|…'")
@speaking
@refusals
def cost(desk: Desk, targets: str, as_json: bool) -> None:
    """Measure what one batch of requests costs beside a run for each; the ledger and its models are left alone."""
    from tempfile import TemporaryDirectory

    from razor_pipeline.requests.cost import measure
    from razor_pipeline.splitting import parse_targets

    with TemporaryDirectory(prefix="razor_cost_") as root:
        found = measure(desk.project, desk.env, desk.params, parse_targets(targets), Path(root))
    told = {
        "separate": found.separate,
        "batch": found.batch,
        "ratio": found.ratio,
        "of_20": found.expected(20),
    }
    each = " + ".join(f"{seconds:.1f}" for seconds in found.separate)
    sentence = (
        f"CPU seconds: {each} separately, {found.batch:.1f} as one batch: {found.ratio:.2f} x; "
        f"for 20 requests that cost as much as these: {found.expected(20):.2f} x"
    )
    click.echo(json.dumps(told) if as_json else sentence)


@click.command()
@speaking
@refusals
def key(desk: Desk, as_json: bool) -> None:
    """Make the key pair that signs evidence and checks it."""
    from razor_pipeline.requests.signing import make_keys

    private, public = Path(desk.params.private_key), Path(desk.params.public_key)
    make_keys(private, public)
    told = {"private_key": str(private), "public_key": str(public)}
    sentence = f"{private} signs: keep it secret and back it up; {public} checks: give it to auditors"
    click.echo(json.dumps(told) if as_json else sentence)


@click.group()
def audit() -> None:
    """The audit log."""


@audit.command("verify")
@speaking
@refusals
def audit_verify(desk: Desk, as_json: bool) -> None:
    """Find altered, removed, reordered and cut lines, and rows that were changed behind the log's back."""
    from razor_pipeline.requests.crosscheck import faults
    from razor_pipeline.requests.places import connect, others
    from razor_pipeline.requests.verification import anchors

    ledger = connect(desk.params)
    # Anchors of another ledger would accuse every line of this one.
    other = others(ledger, desk.params)
    known = [] if other else anchors(ledger, desk.anchors, Path(desk.params.folder))
    with ledger.reading() as session:
        found = [*other, *faults(session, known)]
    told = {"lines": ledger.head()[0], "anchors": len(known), "faults": found}
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo("\n".join(found) or f"{told['lines']} lines, {told['anchors']} anchors: intact")
    if found:
        raise click.exceptions.Exit(1)
