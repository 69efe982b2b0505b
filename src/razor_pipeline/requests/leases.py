"""Leases: who works on what until when. One that has run out, or whose process is gone, is taken over."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.tables import Lease
from razor_pipeline.tracking.process import identity, is_gone

logger = logging.getLogger(__name__)
BEATS = 4  # renewals within the life of a lease


class LeaseError(RuntimeError):
    """Somebody else holds it."""


def of_line(model: str) -> str:
    """Name of the lease of a line of models."""
    return f"model:{model}"


@contextmanager
def held(ledger: Ledger, name: str, seconds: float, owner: str | None = None) -> Iterator[str]:
    """Hold a lease inside the block and renew it from a thread; yields the owner.

    Args:
        ledger: where leases are noted.
        name: of what is worked on.
        seconds: life of the lease without a renewal; as long as a stalled process keeps others waiting.
        owner: of the lease; this process where none is given.

    Raises:
        LeaseError: another living process holds it; names it and when the lease runs out.
    """
    owner = owner or identity()
    take(ledger, name, seconds, owner)
    stop = Event()
    beat = Thread(target=_renew, args=(ledger, name, seconds, owner, stop), daemon=True)
    beat.start()
    try:
        yield owner
    finally:
        stop.set()
        beat.join()
        with ledger.writing() as session:
            lease = session.get(Lease, name)
            if lease is not None and lease.owner == owner:
                session.delete(lease)


def take(ledger: Ledger, name: str, seconds: float, owner: str) -> None:
    """Take a lease that is free, has run out, or whose process has ended.

    Raises:
        LeaseError: another holds it.
    """
    with ledger.writing() as session:
        lease = session.get(Lease, name)
        now = time.time()
        if lease is None:
            session.add(Lease(name=name, owner=owner, expires=now + seconds))
        elif lease.owner == owner or lease.expires <= now or is_gone(lease.owner):
            lease.owner, lease.expires = owner, now + seconds
        else:
            raise LeaseError(
                f"{name} is being worked on by {lease.owner}; its lease runs out in {lease.expires - now:.0f} s "
                "unless it is renewed: wait, or end that process"
            )


def check(session: Session, name: str, owner: str) -> None:
    """Refuse to go on where the lease is no longer ours, inside the transaction that depends on it.

    A process that slept through its lease must not write behind the one that took over.

    Raises:
        LeaseError: it was taken over.
    """
    lease = session.get(Lease, name)
    if lease is None or lease.owner != owner:
        raise LeaseError(f"the lease of {name} was taken over meanwhile; this process stops without a result")


def _renew(ledger: Ledger, name: str, seconds: float, owner: str, stop: Event) -> None:
    while not stop.wait(seconds / BEATS):
        try:
            with ledger.writing() as session:
                lease = session.get(Lease, name)
                if lease is None or lease.owner != owner:
                    return
                lease.expires = time.time() + seconds
        except DBAPIError as error:  # a database that restarts is there again at one of the next beats
            logger.warning("the lease of %s was not renewed (%s)", name, type(error.orig).__name__)
