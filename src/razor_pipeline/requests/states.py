"""What a request can be, and what it can become."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a request stands."""

    RECEIVED = "received"
    VALIDATED = "validated"
    APPROVED = "approved"
    RUNNING = "running"
    VERIFIED = "verified"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    NO_BASELINE = "no_baseline"


class Reason(StrEnum):
    """Why a request is rejected or extended; a fixed list, since free text attracts personal data."""

    IDENTITY_NOT_CONFIRMED = "identity_not_confirmed"
    MANIFESTLY_UNFOUNDED = "manifestly_unfounded"
    LEGAL_OBLIGATION = "legal_obligation"
    DUPLICATE = "duplicate"
    WITHDRAWN = "withdrawn"
    COMPLEXITY = "complexity"
    MANY_REQUESTS = "many_requests"


EXTENDING = (Reason.COMPLEXITY, Reason.MANY_REQUESTS)  # GDPR, Art. 12(3): no other reason extends a deadline

NEXT: dict[Status, frozenset[Status]] = {
    Status.RECEIVED: frozenset({Status.VALIDATED, Status.REJECTED}),
    Status.VALIDATED: frozenset({Status.APPROVED, Status.REJECTED}),
    Status.APPROVED: frozenset({Status.RUNNING, Status.REJECTED}),
    Status.RUNNING: frozenset({Status.VERIFIED, Status.FAILED, Status.NO_BASELINE}),
    # Back to approved: another request was promoted meanwhile, so the edit starts from a model that is no champion.
    Status.VERIFIED: frozenset({Status.PROMOTED, Status.APPROVED, Status.REJECTED}),
    Status.FAILED: frozenset({Status.APPROVED, Status.REJECTED}),
    Status.PROMOTED: frozenset({Status.ROLLED_BACK}),
    # Promoted again without a run: the version without its edit was itself rolled back.
    Status.ROLLED_BACK: frozenset({Status.APPROVED, Status.PROMOTED, Status.REJECTED}),
    Status.REJECTED: frozenset(),
    Status.NO_BASELINE: frozenset(),
}
CLOSED = frozenset({Status.PROMOTED, Status.REJECTED, Status.NO_BASELINE})  # no deadline runs any more


class TransitionError(ValueError):
    """A request cannot become this from where it stands."""


def check(request: str, old: Status, new: Status) -> None:
    """Refuse a step that is not allowed.

    Raises:
        TransitionError: it is not; names what is.
    """
    if new not in NEXT[old]:
        allowed = ", ".join(sorted(NEXT[old])) or "nothing any more"
        raise TransitionError(
            f"{request} is {old} and cannot become {new}; from here it can become {allowed}"
        )
