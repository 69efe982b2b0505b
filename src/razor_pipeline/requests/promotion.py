"""What serves: promoting a verified version, and taking one back. The ledger decides, in one transaction."""

from __future__ import annotations

from sqlalchemy.orm import Session

from razor_pipeline.requests.chain import champion, edits_of, since, version
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.states import Status, TransitionError
from razor_pipeline.requests.tables import Champion, Request, Version

STALE = "another request was promoted meanwhile"
BACK = "the version that holds its edit serves again"


def promote(ledger: Ledger, session: Session, request: Request, actor: str) -> bool:
    """Let a verified request's version serve; or send it back to be run again where the champion has changed.

    Returns:
        Whether it serves now.

    Raises:
        TransitionError: the request is not verified.
        LedgerError: its edit serves already.
    """
    _check_verified(request)
    made = _made_by(session, request)
    serving = champion(session, request.model)
    check_not_in(serving, request.id)
    if made.parent != serving.number:
        request.version = None
        ledger.move(session, request, Status.APPROVED, actor, STALE, champion=serving.number)
        return False
    session.get_one(Champion, request.model).number = made.number
    ledger.move(
        session,
        request,
        Status.PROMOTED,
        actor,
        version=made.number,
        parent=made.parent,
        weights=made.weights,
    )
    return True


def check_not_in(serving: Version, name: str) -> None:
    """Refuse to put a request's edit in twice.

    Raises:
        LedgerError: it is in the version that serves.
    """
    if name in edits_of(serving):
        raise LedgerError(
            f"the edit of {name} is in version {serving.number}, which serves, already; let another version serve with "
            "`kedro unlearning rollback`"
        )


def approve_promotion(ledger: Ledger, name: str, actor: str, needed: int) -> bool:
    """Note an approval of a verified request; with the last that is needed it is promoted.

    Returns:
        Whether it serves now.

    Raises:
        LedgerError: it is unknown, or the actor may not approve (again).
        TransitionError: it is not verified.
    """
    with ledger.writing() as session:
        request = ledger.get(name, session)
        _check_verified(request)
        return ledger.approved_by(session, request, actor, needed) and promote(
            ledger, session, request, actor
        )


def restore_previous(ledger: Ledger, model: str, actor: str) -> Version:
    """Let the champion's parent serve again, with every edit that is in it.

    Raises:
        LedgerError: the base model serves, or a request whose edit would serve again is being run.
    """
    with ledger.writing() as session:
        serving = champion(session, model)
        if serving.parent is None:
            raise LedgerError(f"the base model of '{model}' serves; there is no earlier version")
        before = version(session, model, serving.parent)
        assert before is not None
        session.get_one(Champion, model).number = before.number
        for name in [one for one in edits_of(before) if one not in edits_of(serving)]:
            # Taken out by the version that goes. Since then it may have been rejected, approved, or run again.
            request = ledger.get(name, session)
            if request.state is Status.RUNNING:
                raise LedgerError(
                    f"{name} is being run, and its edit is in the previous version; let that run end, with `kedro "
                    "unlearning run` where it was killed, and roll back then"
                )
            made = since(session, before, name)[0]
            ledger.serves_again(session, request, made.number, actor, BACK)
        ledger.note(session, actor, "rollback", None, model=model, old=serving.number, to=before.number)
        if serving.request is not None:
            request = ledger.get(serving.request, session)
            if request.state is Status.PROMOTED:
                ledger.move(session, request, Status.ROLLED_BACK, actor, version=serving.number)
        return before


def _check_verified(request: Request) -> None:
    if request.state is not Status.VERIFIED:
        raise TransitionError(
            f"{request.id} is {request.status}; only what is verified is promoted: run it first"
        )


def _made_by(session: Session, request: Request) -> Version:
    found = version(session, request.model, request.version) if request.version is not None else None
    if found is None:
        raise LedgerError(f"{request.id} has no version; run it again")
    return found
