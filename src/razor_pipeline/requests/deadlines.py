"""Legal deadlines in calendar arithmetic. All days are days in UTC.

GDPR: one month from receipt, extendable by two further months (Art. 12(3)). A period in months ends on the same date
of its last month or, where that month has none, on its last day (Regulation 1182/71, Art. 3(2)(c)). Where the last day
is a holiday the law gives time until the next working day; this ledger does not take it, as holidays differ by place
and the earlier day is on the safe side.

CCPA: 45 calendar days from receipt, extendable once by another 45 (Cal. Civ. Code § 1798.130(a)(2)).
"""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from enum import StrEnum

MONTHS = 12
CCPA_DAYS = 45


class Basis(StrEnum):
    """What the request rests on; ``other`` brings its own due date."""

    GDPR = "gdpr"
    CCPA = "ccpa"
    OTHER = "other"


class DeadlineError(ValueError):
    """A date is not possible; the message says what to do."""


def plus_months(day: date, months: int) -> date:
    """The same date ``months`` later, or that month's last day."""
    years, month = divmod(day.month - 1 + months, MONTHS)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def due(received: date, basis: Basis, given: date | None = None) -> date:
    """The last day to answer.

    Args:
        received: day of receipt.
        basis: of the request.
        given: the due date where the basis is ``other``.

    Raises:
        DeadlineError: it is not given where it is needed, given where the law sets it, or before the receipt.
    """
    if basis is not Basis.OTHER:
        if given is not None:
            raise DeadlineError(f"the due date of a {basis} request follows from the law; leave --due out")
        return plus_months(received, 1) if basis is Basis.GDPR else received + timedelta(days=CCPA_DAYS)
    if given is None:
        raise DeadlineError("a request with the basis 'other' needs a due date; add --due YYYY-MM-DD")
    if given < received:
        raise DeadlineError(
            f"the due date {given} lies before the receipt on {received}; correct one of them"
        )
    return given


def extended(received: date, basis: Basis, first: date, today: date) -> date:
    """The due date after the one extension that the law knows.

    Args:
        received: day of receipt, from which an extended period counts.
        basis: of the request.
        first: its due date so far.
        today: the requester must be told of the extension within the first period.

    Raises:
        DeadlineError: the first period is over, or the basis knows no extension.
    """
    if basis is Basis.OTHER:
        raise DeadlineError("a request with the basis 'other' knows no extension; agree on a new request")
    if today > first:
        raise DeadlineError(
            f"the first period ended on {first} and today is {today}: an extension must be told before; answer at once"
        )
    return plus_months(received, 3) if basis is Basis.GDPR else received + timedelta(days=2 * CCPA_DAYS)
