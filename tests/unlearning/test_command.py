"""`kedro unlearning` as a user types it."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from kedro.framework.session import KedroSession
from sqlalchemy.exc import DBAPIError

from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests.console import Desk, refusals, show_table
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.ledger import SYSTEM, Ledger
from razor_pipeline.requests.places import at
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.submission import submit
from razor_pipeline.requests.tables import Champion, Version
from unlearning.conftest import intake
from unlearning.places import approved, typed

ROOT = Path(__file__).parents[2]
YEAR = datetime.now(UTC).year
FIRST, ABSENT = f"REQ-{YEAR}-0001", f"REQ-{YEAR}-0404"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def told(project: Path, *arguments: str) -> list[dict[str, object]]:
    result = typed(project, *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.output)
    return found


def test_a_request_from_receipt_to_approval(project: Path) -> None:
    [request] = told(project, "submit", "Greta Novak", "--requester", "CASE-0815", "--received", "2026-01-31")
    assert (request["id"], request["status"], request["due"]) == (FIRST, "validated", "2026-02-28")
    assert "target" not in request
    [request] = told(project, "approve", FIRST)
    assert request["status"] == "approved"
    shown = typed(project, "show", FIRST)
    assert "Greta Novak" in shown.output
    assert "approval" in shown.output
    listed = typed(project, "list")
    assert FIRST in listed.output
    assert "Greta" not in listed.output


def test_tables_fold_at_the_edge_of_a_terminal_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is piped into another program has a line for each row. Control: a terminal of 80 columns folds."""
    long = "x" * 90
    monkeypatch.setenv("COLUMNS", "80")
    show_table(["details"], [[long]])
    assert long in capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    show_table(["details"], [[long]])
    assert long not in capsys.readouterr().out


def test_a_csv_is_recorded_whole_or_not_at_all(project: Path) -> None:
    table = project / "requests.csv"
    table.write_text("target,requester\nAda Moreau,CASE-0001\nGreta Novac,CASE-0002\n")
    refused = typed(project, "submit", "--csv", str(table))
    assert refused.exit_code == 1
    assert "did you mean Greta Novak" in refused.output
    assert told(project, "list") == []
    table.write_text("target,requester\nAda Moreau,CASE-0001\nGreta Novak,CASE-0002\n")
    assert len(told(project, "submit", "--csv", str(table))) == 2


def test_commands_run_at_the_root_and_take_files_from_where_they_are_typed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = project / "elsewhere"
    here.mkdir()
    (here / "requests.csv").write_text("target,requester\nAda Moreau,CASE-0001\n")
    monkeypatch.chdir(here)
    assert len(told(project, "submit", "--csv", "requests.csv")) == 1

    @click.command()
    @refusals
    def where(desk: Desk) -> None:
        click.echo(Path.cwd())

    assert CliRunner().invoke(where, obj=Desk(project, None)).output.strip() == str(project)
    assert Path.cwd() == here


def test_a_request_waits_for_the_images_that_it_brings(project: Path) -> None:
    waiting = typed(project, "submit", "Somebody New", "--requester", "CASE-0815", "--data", "case_1")
    assert "holds no image yet" in waiting.output
    early = typed(project, "approve", FIRST)
    assert early.exit_code
    assert f"{FIRST} is not ready to be approved: its data folder" in early.output
    folder = project / "data/01_raw/requests/case_1"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"")
    [request] = told(project, "approve", FIRST)
    assert request["status"] == "approved"


def test_several_are_approved_at_once_and_one_that_cannot_be_keeps_no_other_from_it(project: Path) -> None:
    first, second, third = (f"REQ-{YEAR}-000{number}" for number in (1, 2, 3))
    for target, images in (("Greta Novak", []), ("Hiro Tanaka", ["--data", "case_1"]), ("Kaia Olsen", [])):
        typed(project, "submit", target, "--requester", "CASE-0815", *images)
    mistyped = typed(project, "approve", first, ABSENT)
    assert "not in the ledger" in mistyped.output
    assert {request["status"] for request in told(project, "list")} == {"received", "validated"}
    found = typed(project, "approve", first, second, third, "--json")
    assert found.exit_code
    assert f"{second} is not ready to be approved: its data folder" in found.stderr
    approved = [(request["id"], request["status"]) for request in json.loads(found.stdout)]
    assert approved == [(first, "approved"), (third, "approved")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit"], "give either a target"),
        (["submit", "Greta Novak", "--requester", "Greta"], "requester"),
        (["submit", "Greta Novak", "--requester", "CASE-0815", "--basis", "law"], "basis"),
        (["submit", "Greta Novak", "--requester", "CASE-0815", "--id", "../x"], "request id"),
        (["submit", "Greta Novak", "--requester", "CASE-0815", "--data", "../x"], "data folder"),
        (["submit", "Greta Novak", "--requester", "CASE-0815", "--received", "2999-01-01"], "in the future"),
        (["submit", "Greta Novak", "--requester", "CASE-0815", "--model", "clpi"], "'clpi' has no model"),
        (["extend", FIRST, "--reason", "withdrawn"], "complexity"),
        (["--env", "nope", "list"], "conf/nope"),
        (["--env", "autoencoder", "submit", "Mosaic", "--requester", "CASE-0815"], "family 'autoencoder'"),
        (["--env", "autoencoder", "run"], "family 'autoencoder'"),
        (["--env", "style", "submit", "Mosaic", "--requester", "CASE-0815", "--data", "a"], "without them"),
        (["--env", "style", "submit", "cat", "--requester", "CASE-0815"], "an object here"),
        (["approve", "Ada Moreau"], "request id"),
        (["approve", ABSENT], "not in the ledger"),
        (["run", "--request", ABSENT], "kedro unlearning key"),
        (["rollback"], "no model yet"),
        (["verify", ABSENT], "not in the ledger"),
        (["verify"], "no model yet"),
    ],
)
def test_a_refusal_is_one_sentence(project: Path, arguments: list[str], words: str) -> None:
    refused = typed(project, *arguments)
    assert refused.exit_code in (1, 2)
    assert words in refused.output
    assert "Traceback" not in refused.output


@pytest.mark.parametrize(
    ("arguments", "seconds"), [((), 3600.0), (("--wait", "5"), 5.0), (("--wait", "0"), 0.0)]
)
def test_a_run_waits_as_long_as_it_is_told_or_else_as_the_configuration_says(
    project: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], seconds: float
) -> None:
    given: list[RequestsParams] = []
    monkeypatch.setenv("RAZOR_LEDGER", f"sqlite:///{project}/requests.db")
    monkeypatch.setattr(Desk, "check_can_run", lambda *_: [])
    monkeypatch.setattr(
        KedroSession, "run", lambda self, **_: given.append(self.load_context().params["requests"])
    )
    told(project, "--env", "enterprise", "run", *arguments)
    assert [params.wait_seconds for params in given] == [seconds]


@pytest.mark.parametrize("env", [(), ("--env", "vit")], ids=["none", "vit"])
def test_a_run_has_the_line_and_the_settings_that_the_other_commands_have(
    project: Path, monkeypatch: pytest.MonkeyPatch, env: tuple[str, ...]
) -> None:
    """Where an environment leaves the group ``requests`` to conf/base, and where it names groups of its own."""
    given: list[RequestsParams] = []
    settings = project / "conf/base/parameters_requests.yml"
    settings.write_text(settings.read_text().replace("approvals: 1", "approvals: 2"))
    (project / "conf/local").mkdir(exist_ok=True)
    (project / "conf/local/parameters.yml").write_text("razor: {components: 8}\n")
    monkeypatch.setattr(Desk, "check_can_run", lambda *_: [])
    monkeypatch.setattr(
        KedroSession, "run", lambda self, **_: given.append(self.load_context().params["requests"])
    )
    told(project, *env, "run", "--request", FIRST)
    [ran] = given
    others = Desk(project, env[-1] if env else None).params
    assert at(ran, project) == others.model_copy(update={"only": (FIRST,)})
    assert (ran.model, ran.approvals) == ("vit" if env else "clip", 2)


def test_who_acts_must_be_said_by_role(project: Path) -> None:
    for actor, words in ((None, "say who acts"), ("Jane Doe", "refused"), (SYSTEM, "no person decides")):
        refused = typed(project, "approve", FIRST, actor=actor)
        assert refused.exit_code == 2
        assert words in refused.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("approve",),
        ("reject", "--reason", "withdrawn"),
        ("extend", "--reason", "complexity"),
        ("rollback",),
        ("purge", "--yes"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_request_for_another_line_is_not_changed_from_here(
    project: Path, arguments: tuple[str, ...]
) -> None:
    ledger = Ledger(open_database(f"sqlite:///{project}/data/requests.db"))
    name = submit(ledger, intake(model="vit"), "ops-1").id
    refused = typed(project, arguments[0], name, *arguments[1:])
    assert refused.exit_code == 1
    assert f"{name} is for the line 'vit'" in refused.output
    assert [line.action for line in ledger.history(name)] == ["submit"]


def test_the_audit_log_is_verified_and_a_change_is_told(project: Path) -> None:
    import sqlite3

    told(project, "submit", "Greta Novak", "--requester", "CASE-0815")
    intact = typed(project, "audit", "verify")
    assert (intact.exit_code, "intact" in intact.output) == (0, True)
    with sqlite3.connect(project / "data/requests.db") as database:
        database.execute("UPDATE requests SET target = 'Somebody Else'")
    changed = typed(project, "audit", "verify", "--json")
    assert changed.exit_code == 1
    assert FIRST in json.loads(changed.output)["faults"][0]


def test_a_cell_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["a"], [["[red]x[/red] [/]"]])
    assert "[red]x[/red] [/]" in capsys.readouterr().out


def test_what_is_said_beside_a_csv_holds_for_its_rows(project: Path) -> None:
    """A row's own cell goes before; control: the day that CCPA asks for is not GDPR's."""
    table = project / "requests.csv"
    table.write_text("target,requester,basis\nAda Moreau,CASE-0001,\nGreta Novak,CASE-0002,gdpr\n")
    one, other = told(project, "submit", "--csv", str(table), "--basis", "ccpa", "--received", "2026-01-31")
    assert (one["basis"], one["due"]) == ("ccpa", "2026-03-17")
    assert (other["basis"], other["due"]) == ("gdpr", "2026-02-28")
    refused = typed(project, "submit", "--csv", str(table), "--requester", "CASE-0003")
    assert refused.exit_code == 2
    assert "--requester is one request's own" in refused.output


def test_a_candidate_that_is_rejected_is_none_in_the_registry_either(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored: list[str] = []
    monkeypatch.setattr(Desk, "mirror", lambda desk: mirrored.append(desk.params.model))
    ledger = Ledger(open_database(f"sqlite:///{project}/data/requests.db"))
    first, second = (submit(ledger, intake(target), "ops-1").id for target in ("Greta Novak", "Hiro Tanaka"))
    with ledger.writing() as session:
        ledger.get(second, session).status = Status.VERIFIED
    typed(project, "reject", first, "--reason", "withdrawn")
    assert mirrored == []  # control: it was no candidate
    typed(project, "reject", second, "--reason", "withdrawn")
    assert mirrored == ["clip"]


def test_a_fault_of_the_database_is_told_without_what_was_to_be_written(project: Path) -> None:
    typed(project, "list")
    ledger = Ledger(open_database(f"sqlite:///{project}/data/requests.db"))
    refuse = "CREATE TRIGGER full BEFORE INSERT ON requests BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql(refuse)
    refused = typed(project, "submit", "Greta Novak", "--requester", "CASE-0815")
    assert refused.exit_code == 1
    assert "refused (disk is full)" in refused.output
    assert "Greta" not in refused.output
    with pytest.raises(DBAPIError) as error:
        submit(ledger, intake("Greta Novak"), "ops-1")
    assert "Greta" not in str(error.value)  # wherever it is logged


def test_what_is_missing_is_said_without_the_name(project: Path) -> None:
    refused = typed(project, "submit", "Jonas Berger")
    assert "requester is missing" in refused.output
    assert "Jonas" not in refused.output


def test_requests_that_wait_are_not_told_to_be_submitted(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "record one with" in typed(project, "list").output  # control: there is none
    typed(project, "submit", "Greta Novak", "--requester", "CASE-0815")
    assert "no request is failed" in typed(project, "list", "--status", "failed").output
    typed(project, "key")
    monkeypatch.setattr(KedroSession, "run", lambda *_, **__: None)
    told = "nothing is approved; 1 validated, waiting for `kedro unlearning approve`"
    assert told in typed(project, "run").output


def test_a_night_without_requests_runs_no_pipeline(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []
    monkeypatch.setattr(KedroSession, "run", lambda *_, **given: runs.append(given))
    typed(project, "key")
    assert "nothing is approved" in typed(project, "run").output
    assert len(runs) == 1  # the first notes the base model
    ledger = Ledger(open_database(f"sqlite:///{project}/data/requests.db"))
    with ledger.writing() as session:
        session.add(Version(model="clip", number=0, path="x", weights="0" * 64, edits="[]"))
        session.add(Champion(model="clip", number=0))
    assert "nothing is approved" in typed(project, "run").output
    assert len(runs) == 1
    typed(project, "submit", "Greta Novak", "--requester", "CASE-0815")
    typed(project, "approve", FIRST)
    typed(project, "run")
    assert len(runs) == 2  # control


@pytest.mark.parametrize(("told_which", "ended"), [(False, ["promoted", "failed"]), (True, ["promoted"])])
def test_a_run_answers_for_what_is_approved_while_it_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, told_which: bool, ended: list[str]
) -> None:
    """Control: one that is told what to run answers for no other."""
    ledger = Ledger(open_database(f"sqlite:///{project}/data/requests.db"))

    def end(name: str, *steps: Status) -> None:
        with ledger.writing() as session:
            for step in (Status.RUNNING, *steps):
                ledger.move(session, ledger.get(name, session), step, SYSTEM)

    def works(*_: object, **__: object) -> None:
        end(first, Status.VERIFIED, Status.PROMOTED)
        end(approved(ledger, "Hiro Tanaka")[0], Status.FAILED)

    monkeypatch.setattr(KedroSession, "run", works)
    typed(project, "key")
    [first] = approved(ledger, "Greta Novak")
    found = typed(project, "run", "--json", *(("--request", first) if told_which else ()))
    assert [request["status"] for request in json.loads(found.stdout)] == ended
    assert found.exit_code == ("failed" in ended)


def test_a_night_without_requests_answers_in_json_where_the_registry_is_down(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(project, "key")
    with Ledger(open_database(f"sqlite:///{project}/data/requests.db")).writing() as session:
        session.add(Version(model="clip", number=0, path="x", weights="0" * 64, edits="[]"))
        session.add(Champion(model="clip", number=0))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    found = typed(project, "run", "--json")
    assert json.loads(found.stdout) == []
    assert "was not reached" in found.stderr  # control


def test_the_dashboard_follows_what_changes_between_runs(project: Path) -> None:
    page = project / "data/08_reporting/requests/dashboard.html"
    typed(project, "submit", "Greta Novak", "--requester", "CASE-0815")
    assert FIRST in page.read_text()
    before = page.read_text()
    typed(project, "approve", FIRST)
    assert page.read_text() != before
