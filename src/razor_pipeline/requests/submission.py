"""Recording what comes in: all of it or none, each with a free id, and nothing that is asked already."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import count
from typing import Literal

from sqlalchemy import select

from razor_pipeline.requests import deadlines
from razor_pipeline.requests.intake import Intake
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.tables import Request

NUMBER = re.compile(r"REQ-(\d{4})-(\d+)")
NINE_DIGITS = 100_000_000  # an id has no more (:data:`razor_pipeline.requests.ids.REQUEST`)
# No edit is in the model or on its way: the same may be asked again.
WITHOUT_EDIT = frozenset({Status.REJECTED, Status.ROLLED_BACK, Status.NO_BASELINE})


def submit(ledger: Ledger, intake: Intake, actor: str) -> Request:
    """Record a request as received.

    Raises:
        LedgerError: the id is taken, or an open request asks the same of the same model.
        DeadlineError: its dates are not possible.
    """
    return submit_all(ledger, [intake], actor)[0]


def submit_all(
    ledger: Ledger,
    intakes: Sequence[Intake],
    actor: str,
    approvals: int = 1,
    promotion: Literal["automatic", "approval"] = "automatic",
) -> list[Request]:
    """Record all or none.

    Args:
        ledger: of the requests.
        intakes: what is asked.
        actor: who submits.
        approvals: how many a request needs; an environment that asks for fewer cannot do with fewer.
        promotion: whether what passes its gates serves at once; an environment where it does cannot change that.

    Raises:
        LedgerError: see :func:`submit`.
        DeadlineError: see :func:`submit`.
    """
    today = ledger.today()
    with ledger.writing() as session:
        # Read once, however many rows come: other writers wait for this transaction.
        present = {request.id: request for request in session.scalars(select(Request))}
        asked = {_asks(old): old for old in present.values() if old.state not in WITHOUT_EDIT}
        free = _free_ids(present, today)
        made = []
        for intake in intakes:
            request = _new(intake, intake.id or next(free), today)
            _check_new(request, present, asked)
            present[request.id] = asked[_asks(request)] = request
            session.add(request)
            ledger.note(
                session,
                actor,
                "submit",
                request,
                to=Status.RECEIVED,
                approvals=approvals,
                promotion=promotion,
            )
            made.append(request)
        return made


def _new(intake: Intake, name: str, today: date) -> Request:
    received = intake.received or today
    if received > today:
        raise LedgerError(f"received {received} lies in the future; write the day of receipt")
    return Request(
        id=name,
        kind=intake.kind,
        model=intake.model,
        target=intake.target,
        data=intake.data,
        nonce=secrets.token_hex(16),
        basis=intake.basis,
        requester=intake.requester,
        received=received,
        due=deadlines.due(received, intake.basis, intake.due),
        status=Status.RECEIVED,
    )


def _free_ids(present: Mapping[str, Request], today: date) -> Iterator[str]:
    """This year's ids behind the last one, without those that are taken when they are asked for."""
    year = f"{today.year}"
    matches = [NUMBER.fullmatch(name) for name in present]
    taken = (int(match[2]) for match in matches if match and match[1] == year)
    # Behind an id of nine digits, which only a person gives, there may be none that is still one.
    last = max((number for number in taken if number < NINE_DIGITS), default=0)
    for number in count(last + 1):
        if (name := f"REQ-{year}-{number:04d}") not in present:
            yield name


def _asks(request: Request) -> tuple[str, str]:
    """What two requests have in common that ask the same; letter case does not matter."""
    return request.model, (request.target or "").casefold()


def _check_new(
    request: Request, present: Mapping[str, Request], asked: Mapping[tuple[str, str], Request]
) -> None:
    if request.id in present:
        raise LedgerError(f"{request.id} is in the ledger already; leave the id out to get the next free one")
    if other := asked.get(_asks(request)):
        raise LedgerError(
            f"{other.id} asks the same of {request.model} and is {other.status}; reject one of the two"
        )
