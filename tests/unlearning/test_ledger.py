"""Requests and their states, over SQLite and a real PostgreSQL."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, inspect, select

from razor_pipeline.requests import crosscheck, ids
from razor_pipeline.requests.database import migrate, open_database
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.purge import purge
from razor_pipeline.requests.states import NEXT, Reason, Status, TransitionError, check
from razor_pipeline.requests.submission import submit, submit_all
from razor_pipeline.requests.tables import AuditLine, Base, Request
from unlearning.conftest import Clock, intake

WAY = (Status.VALIDATED, Status.APPROVED, Status.RUNNING, Status.VERIFIED, Status.PROMOTED)


def test_the_migrations_make_what_the_models_say(ledger: Ledger) -> None:
    found = inspect(ledger.engine)
    for table in Base.metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert columns == {column.name: column.nullable for column in table.columns}, table.name
    migrate(ledger.engine)  # a second time changes nothing


def test_a_request_is_recorded_with_its_deadline(ledger: Ledger) -> None:
    request = submit(ledger, intake(), "ops-1")
    assert (request.id, request.state, request.due) == ("REQ-2026-0001", Status.RECEIVED, date(2026, 2, 28))
    assert submit(ledger, intake("Greta Novak"), "ops-1").id == "REQ-2026-0002"
    assert ledger.get("REQ-2026-0001").target == "Ada Moreau"
    [line] = ledger.history("REQ-2026-0001")
    assert (line.actor, line.action) == ("ops-1", "submit")


def test_nothing_personal_is_in_the_audit_log(ledger: Ledger) -> None:
    name = submit(ledger, intake("Zoltan Quirk", data="quirk/images"), "ops-1").id
    text = " ".join(str(vars(line)) for line in ledger.history(name)).lower()
    assert name.lower() in text
    assert "zoltan" not in text
    assert "quirk" not in text


def test_what_cannot_be_recorded_is_told_and_leaves_nothing(ledger: Ledger) -> None:
    submit(ledger, intake(), "ops-1")
    for wrong, words in (
        (intake(), "asks the same"),
        (intake("ADA moreau"), "asks the same"),
        (intake("Ada  Moreau"), "asks the same"),
        (intake("Greta Novak", id="REQ-2026-0001"), "in the ledger already"),
        (intake("Greta Novak", received="2026-02-02"), "in the future"),
    ):
        with pytest.raises(LedgerError, match=words):
            submit_all(ledger, [intake("Hiro Tanaka"), wrong], "ops-1")
    assert len(ledger.requests()) == 1
    assert ledger.head()[0] == 1


def test_who_reads_neither_waits_for_a_writer_nor_holds_others_up(ledger: Ledger) -> None:
    name = submit(ledger, intake(), "ops-1").id
    with ledger.writing() as writer:
        ledger.move(writer, ledger.get(name, writer), Status.REJECTED, "dpo-1")
        with ledger.reading() as reader:  # what is not committed is not seen
            assert ledger.get(name, reader).state is Status.RECEIVED
            assert ledger.head()[0] == 1
    assert ledger.head()[0] == 2


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # SQLite lets nobody write meanwhile
def test_who_reads_sees_one_moment(ledger: Ledger) -> None:
    submit(ledger, intake(), "ops-1")
    with ledger.reading() as session:
        lines = list(session.scalars(select(AuditLine)))
        submit(ledger, intake("Greta Novak"), "ops-1")
        assert len(session.scalars(select(Request)).all()) == len(lines)
        assert crosscheck.faults(session) == []
    assert ledger.head()[0] == 2  # control: it was written


def test_a_new_file_is_its_owners_alone(lite: Ledger, tmp_path: Path) -> None:
    submit(lite, intake(), "ops-1")
    file = tmp_path / "requests.db"
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o660)  # for a group that works on it
    open_database(f"sqlite:///{file}")
    assert file.stat().st_mode & 0o777 == 0o660


def test_many_rows_read_the_ledger_once(lite: Ledger) -> None:
    """Others wait for this transaction."""
    read: list[str] = []

    @event.listens_for(lite.engine, "before_cursor_execute")
    def note(_: object, __: object, statement: str, *___: object) -> None:
        read.extend([statement] if statement.startswith("SELECT requests") else [])

    names = [request.id for request in submit_all(lite, [intake(f"{n}") for n in range(20)], "ops-1")]
    assert len(read) == 1
    assert names == [f"REQ-2026-{number:04d}" for number in range(1, 21)]


def test_the_next_id_is_free_whatever_ids_a_table_gives(lite: Ledger) -> None:
    rows = [intake("A"), intake("B", id="REQ-2026-0002"), intake("C"), intake("D", id="REQ-2025-0009")]
    names = [request.id for request in submit_all(lite, rows, "ops-1")]
    assert names == ["REQ-2026-0001", "REQ-2026-0002", "REQ-2026-0003", "REQ-2025-0009"]


def test_the_next_id_is_one_that_commands_take_behind_the_last_that_there_can_be(lite: Ledger) -> None:
    rows = [intake("A", id="REQ-2026-999999999"), intake("B", id="REQ-2026-0007")]
    submit_all(lite, rows, "ops-1")
    name = submit(lite, intake("C"), "ops-1").id
    assert ids.request_id(name) == name == "REQ-2026-0008"


def test_the_most_urgent_comes_first_and_the_closed_last(ledger: Ledger, clock: Clock) -> None:
    for target, day in (("A", "2026-01-20"), ("B", "2026-01-02"), ("C", "2026-01-10"), ("D", "2026-01-01")):
        submit(ledger, intake(target, received=day), "ops-1")
    ledger.reject("REQ-2026-0004", "dpo-1", Reason.WITHDRAWN)
    clock.now += timedelta(days=6)
    found = ledger.requests()
    assert [request.target for request in found] == ["B", "C", "A", "D"]
    assert [request.days_left(ledger.today()) for request in found] == [-4, 4, 14, None]


def test_approvals_are_of_different_people_and_not_of_the_one_who_submitted(ledger: Ledger) -> None:
    name = submit(ledger, intake(), "ops-1").id
    with pytest.raises(TransitionError, match="cannot become approved"):
        ledger.approve(name, "dpo-1", 2)
    with ledger.writing() as session:
        ledger.move(session, ledger.get(name, session), Status.VALIDATED, "system-0")
    with pytest.raises(LedgerError, match="submitted"):
        ledger.approve(name, "ops-1", 2)
    assert ledger.approve(name, "dpo-1", 2).state is Status.VALIDATED
    with pytest.raises(LedgerError, match="approved REQ-2026-0001 already"):
        ledger.approve(name, "dpo-1", 2)
    assert ledger.approve(name, "dpo-2", 2).state is Status.APPROVED


def test_as_many_approvals_are_needed_as_where_it_was_submitted(lite: Ledger) -> None:
    """Else one person approves alone, from an environment that asks for one."""
    name = submit_all(lite, [intake()], "ops-1", approvals=2, promotion="approval")[0].id
    with lite.writing() as session:
        lite.move(session, lite.get(name, session), Status.VALIDATED, "system-0")
        assert lite.waits(session, lite.get(name, session))
    with pytest.raises(LedgerError, match="2 other people"):
        lite.approve(name, "ops-1", 1)
    assert lite.approve(name, "dpo-1", 1).state is Status.VALIDATED
    assert lite.approve(name, "dpo-2", 1).state is Status.APPROVED


def test_what_was_purged_is_not_approved_again(lite: Ledger, tmp_path: Path) -> None:
    name = submit(lite, intake(), "ops-1").id
    with lite.writing() as session:
        lite.get(name, session).status = Status.ROLLED_BACK
    purge(lite, name, "dpo-1", tmp_path, 60.0)
    with pytest.raises(LedgerError, match="its data was purged"):
        lite.approve(name, "dpo-1", 1)


def test_a_deadline_is_extended_once(ledger: Ledger) -> None:
    name = submit(ledger, intake(), "ops-1").id
    assert ledger.extend(name, "dpo-1", Reason.COMPLEXITY).deadline == date(2026, 4, 30)
    with pytest.raises(LedgerError, match="one extension"):
        ledger.extend(name, "dpo-1", Reason.COMPLEXITY)
    with pytest.raises(LedgerError, match="not in the ledger"):
        ledger.extend("REQ-2026-0999", "dpo-1", Reason.COMPLEXITY)


@given(st.sampled_from(Status), st.sampled_from(Status))
def test_only_the_listed_steps_are_possible(old: Status, new: Status) -> None:
    if new in NEXT[old]:
        check("REQ-2026-0001", old, new)
    else:
        with pytest.raises(TransitionError, match="cannot become"):
            check("REQ-2026-0001", old, new)


def walked(ledger: Ledger, steps: list[Status]) -> list[Status]:
    """What a new request becomes by those of the steps that are not refused."""
    name = submit(ledger, intake(f"person {len(ledger.requests())}"), "ops-1").id
    seen = [Status.RECEIVED]
    for step in steps:
        try:
            with ledger.writing() as session:
                ledger.move(session, ledger.get(name, session), step, "ops-1")
            seen.append(step)
        except TransitionError:
            continue
    assert ledger.get(name).state is seen[-1]
    return seen


@pytest.mark.parametrize("left_out", [None, *WAY[:-1]])
def test_no_order_of_steps_skips_the_approval(lite: Ledger, left_out: Status | None) -> None:
    """Not the way to `promoted` without one of its steps either, whatever is tried in between."""
    reached = []

    @settings(max_examples=12)
    @given(st.lists(st.tuples(st.integers(0, len(WAY)), st.sampled_from(Status)), max_size=3))
    def holds(others: list[tuple[int, Status]]) -> None:
        steps = [step for step in WAY if step is not left_out]
        for place, other in others:
            steps.insert(place, other)
        seen = walked(lite, steps)
        reached.append(Status.PROMOTED in seen)
        if Status.PROMOTED in seen:
            assert set(WAY[:-1]) <= set(seen[: seen.index(Status.PROMOTED)])

    holds()
    assert left_out is not None or sum(reached) >= 6  # control: it is reached


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("no address", "no database address"),
        ("mysql://u:secret@h/d", "must begin with"),
        ("postgresql+psycopg://u:secret@127.0.0.1:1/d", "cannot be opened"),
        ("sqlite:////proc/none/x.db", "cannot be opened"),
    ],
)
def test_an_unusable_database_is_one_sentence_without_the_password(address: str, words: str) -> None:
    with pytest.raises(ConnectionError, match=words) as refused:
        open_database(address)
    assert "secret" not in str(refused.value)
