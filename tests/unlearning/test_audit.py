"""The audit log: whatever is done to it, or to a request's row, is found."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from razor_pipeline.requests import audit, crosscheck
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.states import Reason
from razor_pipeline.requests.submission import submit
from razor_pipeline.requests.tables import AuditLine, Champion, Version
from razor_pipeline.requests.verification import anchors
from unlearning.conftest import intake


def with_lines(ledger: Ledger) -> Ledger:
    for target in ("A", "B", "C"):
        name = submit(ledger, intake(target), "ops-1").id
        ledger.extend(name, "dpo-1", Reason.COMPLEXITY)
    return ledger


@pytest.fixture
def filled(lite: Ledger) -> Ledger:
    return with_lines(lite)


@pytest.fixture
def either(ledger: Ledger) -> Ledger:
    """In SQLite and in PostgreSQL."""
    return with_lines(ledger)


def faults(ledger: Ledger, *anchors: audit.Anchor) -> list[str]:
    with ledger.reading() as session:
        return crosscheck.faults(session, anchors)


def tamper(ledger: Ledger, *statements: str) -> None:
    """As somebody who owns the database: the trigger goes first."""
    drop = {
        "sqlite": ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"],
        "postgresql": ["DROP TRIGGER audit_no_change ON audit"],
    }[ledger.engine.dialect.name]
    with ledger.engine.begin() as connection:
        for statement in (*drop, *statements):
            connection.execute(text(statement))


def test_an_untouched_log_has_no_fault_and_an_altered_line_is_one(either: Ledger) -> None:
    seq, sha256 = either.head()
    assert seq == 6
    assert faults(either, audit.Anchor(seq, sha256, "note")) == []
    tamper(either, "UPDATE audit SET details = '{}' WHERE seq = 2")
    assert faults(either) == ["line 2 was altered: its hash does not fit its content"]


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'ops-2'", "DELETE FROM audit WHERE seq = 6"])
def test_the_database_refuses_to_change_a_line(either: Ledger, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"), either.engine.begin() as connection:
        connection.execute(text(statement))
    assert faults(either) == []


@pytest.mark.parametrize("column", [*audit.FIELDS, "sha256"])
def test_every_altered_field_is_found(filled: Ledger, column: str) -> None:
    value = "99" if column == "seq" else "'x'"
    tamper(filled, f"UPDATE audit SET {column} = {value} WHERE seq = 3")
    assert faults(filled) != []


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["DELETE FROM audit WHERE seq = 3"], "line 3 is missing"),
        (["DELETE FROM audit WHERE seq = 6"], "not the head"),
        (
            [
                "UPDATE audit SET seq = 99 WHERE seq = 2",
                "UPDATE audit SET seq = 2 WHERE seq = 3",
                "UPDATE audit SET seq = 3 WHERE seq = 99",
            ],
            "line 2 does not follow",
        ),
        (["UPDATE requests SET target = 'Z' WHERE id = 'REQ-2026-0002'"], "row of REQ-2026-0002"),
        (["UPDATE requests SET status = 'promoted' WHERE id = 'REQ-2026-0002'"], "row of REQ-2026-0002"),
        (["DELETE FROM requests WHERE id = 'REQ-2026-0003'"], "it was removed"),
        (
            [
                "INSERT INTO requests SELECT 'REQ-2026-0009', kind, model, target, data, nonce, basis, requester, "
                "received, due, extended, status, reason, version, purged FROM requests WHERE id = 'REQ-2026-0003'"
            ],
            "slipped in",
        ),
    ],
)
def test_removed_reordered_truncated_and_row_changes_are_found(
    filled: Ledger, statements: list[str], words: str
) -> None:
    tamper(filled, *statements)
    assert any(words in fault for fault in faults(filled))


def test_a_swapped_champion_is_found(filled: Ledger) -> None:
    with filled.writing() as session:
        session.add(Champion(model="clip", number=0))
        session.add(Version(model="clip", number=0, path="x", weights="0" * 64, edits="[]"))
        filled.note(session, "system-0", "line", None, model="clip", weights="0" * 64)
    assert faults(filled) == []
    tamper(filled, "UPDATE champions SET number = 7")
    assert faults(filled) == ["version 7 of 'clip' serves, and the log says 0: it was swapped"]


def test_a_log_cut_with_its_head_or_written_anew_is_found_by_the_anchor_alone(filled: Ledger) -> None:
    anchor = audit.Anchor(*filled.head(), "note")
    with filled.reading() as session:
        fifth = session.get_one(AuditLine, 5).sha256
    tamper(
        filled,
        "DELETE FROM audit WHERE seq = 6",
        f"UPDATE audit_head SET seq = 5, sha256 = '{fifth}'",
        "UPDATE requests SET extended = NULL WHERE id = 'REQ-2026-0003'",
    )
    assert faults(filled) == []  # control: inside the database nothing is left to see
    assert any("note" in fault for fault in faults(filled, anchor))


@pytest.mark.parametrize("details", ["no JSON", "[]", '{"evidence": 5}'])
def test_evidence_that_an_altered_line_names_is_left_to_its_hash(
    filled: Ledger, tmp_path: Path, details: str
) -> None:
    tamper(filled, f"UPDATE audit SET details = '{details}' WHERE seq = 2")
    assert anchors(filled, tmp_path / "none", tmp_path) == []
    assert "line 2 was altered: its hash does not fit its content" in faults(filled)


def test_anchors_are_kept_in_a_file_and_a_spoilt_line_counts(filled: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "reports/anchors.txt"
    audit.write_anchor(file, *filled.head())
    assert faults(filled, *audit.read_anchors(file)) == []
    file.write_text(file.read_text() + "not an anchor\n")
    assert len(faults(filled, *audit.read_anchors(file))) == 1
