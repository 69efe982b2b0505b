"""Running requests: one after the other on a line of models, each from the champion that the one before left.

Killed at any moment, the next run goes on: what is done is read from the ledger, what is half done is computed again
with the same result, and a version serves only by one transaction of the ledger.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd
from sqlalchemy import select

from razor_pipeline.requests import chain, evidence, forgetting, leases, signing
from razor_pipeline.requests.ledger import SYSTEM, Ledger
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.step import work
from razor_pipeline.requests.tables import Batch, Request, Version
from razor_pipeline.requests.validation import check_brought, check_family
from razor_pipeline.requests.workplace import OpenBatch, Workplace, sayable, start
from razor_pipeline.splitting import SplittingError, split_samples
from razor_pipeline.tracking.process import identity

logger = logging.getLogger(__name__)
PAUSE = 0.5  # seconds between two tries for a lease
DUE = (Status.APPROVED, Status.RUNNING)


def run_batch(place: Workplace) -> list[Request]:
    """Run every approved request of the line, or those of ``requests.only``; returns them as they ended.

    Raises:
        LedgerError: the model could not be examined.
        SigningError: there is no key to sign evidence with.
        LeaseError: another process works on the line, and did not end within ``requests.wait_seconds``.
        ChainError: the base model or the champion is not what the ledger knows, or a target whose edit is in a model
            can no longer be told from what is kept.
        ValueError: the evidence of a purged request cannot be read, so what must not be taught again is not known.
        JudgeError: drawings of this data are to be looked at, and the judges do not know what it shows.
    """
    params, ledger = place.params, place.ledger
    check_family(place.base.name, place.judges, params.gates)
    signing.check_key(Path(params.private_key))
    wait_for_line(place)
    done: list[str] = []
    with leases.held(ledger, place.lease, params.lease_seconds) as owner:
        chain.open_line(ledger, params.model, place.base)
        place.mirror()
        while batch := _next_batch(place, owner):
            opened = open_batch(place, batch, owner)
            opened.check_judges()
            for request in opened.ids:
                if ledger.get(request).state in DUE:
                    work(opened, request, owner)
                    place.mirror()
                done.append(request)
            with ledger.writing() as session:
                leases.check(session, place.lease, owner)
                session.get_one(Batch, batch.id).closed = True
    return [ledger.get(request) for request in dict.fromkeys(done)]


def wait_for_line(place: Workplace) -> None:
    """Take the lease of the line, waiting ``requests.wait_seconds`` at most.

    Raises:
        LeaseError: another process still holds it.
    """
    params = place.params
    until = time.monotonic() + params.wait_seconds
    while True:
        try:
            leases.take(place.ledger, place.lease, params.lease_seconds, identity())
        except leases.LeaseError:
            if time.monotonic() >= until:
                raise
            time.sleep(PAUSE)
        else:
            return


def _next_batch(place: Workplace, owner: str) -> Batch | None:
    """The batch that was left open, or a new one of all requests that are due."""
    with place.ledger.writing() as session:
        leases.check(session, place.lease, owner)
        model, only = place.params.model, place.params.only
        left = session.scalars(
            select(Batch).where(Batch.model == model, Batch.closed.is_(False)).order_by(Batch.id)
        ).first()
        if left is not None:
            return left
        due = place.ledger.requests_in(session, model, *DUE)
        names = [request.id for request in due if not only or request.id in only]
        if not names:
            return None
        serving = chain.champion(session, model)
        batch = Batch(model=model, parent=serving.number, requests=json.dumps(names), closed=False)
        session.add(batch)
        session.flush()
        return batch


def open_batch(place: Workplace, batch: Batch, owner: str) -> OpenBatch:
    """Labels and images of a batch; a request whose data cannot be used ends here, alone."""
    names: list[str] = json.loads(batch.requests)
    with place.ledger.reading() as session:
        parent = chain.version(session, batch.model, batch.parent)
        assert parent is not None
        held = [*chain.edits_of(parent), *chain.edits_of(chain.champion(session, batch.model))]
    return gather(place, parent, held, names, owner)


def gather(place: Workplace, parent: Version, held: Sequence[str], names: list[str], owner: str) -> OpenBatch:
    """Labels and images of all requests that play a part; see :func:`open_batch`.

    A purged request has no label any more. Its images, which its evidence knows by their hashes, leave the data: they
    must not be taught again as what is to be kept. In a line that draws they tell its label (:func:`_still_led`).

    Args:
        place: where the batch runs.
        parent: version that it starts from.
        held: requests whose edits are in a model already.
        names: requests of the batch.
        owner: of the line's lease.

    Raises:
        ChainError: the data of a request that is held cannot be used: its images would be taught again.
        LeaseError: another process took the line over, and a request would end here.
    """
    manifest = place.manifest
    labels: dict[str, str] = {}
    for name in dict.fromkeys([*held, *names]):
        request = place.ledger.get(name)
        if request.purged:
            images = _images_of(place.ledger, request)
            if led := _still_led(place, manifest, images, list(labels.values())):
                labels[name] = led
            else:
                manifest = manifest[~manifest["sha256"].isin(images)]
            continue
        try:
            manifest, label = _admitted(place, manifest, request, list(labels.values()))
            status, reason = Status.NO_BASELINE, "the base model never saw the target"
        except ValueError as error:
            label, status = None, Status.FAILED
            reason = sayable(error, request, set(manifest["label"]), Path(place.params.data_root))
        if label is not None:
            labels[name] = label
        elif name in held:
            raise chain.ChainError(
                f"{name} is forgotten already, and its data cannot be used any more ({reason}); put it back or, where "
                f"it is gone for good, run `kedro unlearning purge {name}`"
            )
        else:
            _end(place, owner, name, status, reason)
    shared = {*names, *chain.edits_of(parent)} & labels.keys()
    return OpenBatch(place, names, parent, labels, manifest, sorted(labels[name] for name in shared))


def _admitted(
    place: Workplace, manifest: pd.DataFrame, request: Request, taken: list[str]
) -> tuple[pd.DataFrame, str | None]:
    """The manifest with the images that a request brings, and its label; None, and none of them, for a stranger.

    Raises:
        DataError: its data cannot be used, alone or beside the targets that are ``taken``.
        IdError: the path of its folder is refused.
        LedgerError: it brings images to a model that draws; who submits for another line is not told so.
    """
    check_brought(request.data, place.base.name)
    label = forgetting.label_of(manifest, request, taken)
    if label is None:
        return manifest, None
    root = Path(place.params.data_root)
    with_its_own = forgetting.with_brought_images(manifest, request, label, root, place.data, taken)
    # What would stop every request of the batch is found here, with the one that brings it.
    split_samples(with_its_own, [label, *taken], place.protocol.splitting, place.protocol.seed)
    return with_its_own, label


def _still_led(
    place: Workplace, manifest: pd.DataFrame, images: Collection[str], taken: list[str]
) -> str | None:
    """The label under which the data of a model that draws has a purged request's images; None where it has not.

    Its prompts must be led away again by every edit: they mean their anchor, which a later request may forget, and the
    edit of that one leads nothing away but what it is told to.
    """
    found = sorted(set(manifest.loc[manifest["sha256"].isin(images), "label"]))
    if place.base.yardstick != "anchor" or len(found) != 1:
        return None
    try:
        split_samples(manifest, [*found, *taken], place.protocol.splitting, place.protocol.seed)
    except SplittingError:  # too little of it is left to lead it by
        return None
    return str(found[0])


def _images_of(ledger: Ledger, request: Request) -> list[str]:
    """sha256 of the images that a promoted request forgot, from its evidence."""
    with ledger.reading() as session:
        query = select(Version).where(Version.model == request.model, Version.request == request.id)
        made = session.scalars(query.order_by(Version.number.desc())).first()
    return evidence.forget_images(Path(made.path) / chain.EVIDENCE) if made else []


def _end(place: Workplace, owner: str, name: str, status: Status, reason: str) -> None:
    ledger = place.ledger
    with ledger.writing() as session:
        request = ledger.get(name, session)
        if request.state in DUE:
            leases.check(session, place.lease, owner)
            logger.warning("%s: %s (%s)", name, status, reason)
            start(ledger, session, request)
            ledger.move(session, request, status, SYSTEM, reason)
