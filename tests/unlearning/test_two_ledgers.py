"""Two ledgers in one checkout: neither writes into the folders of the other, nor is accused by its anchors."""

import json
import shutil
from pathlib import Path

import pytest

from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests import audit
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.places import ANCHORS, OWNER, open_ledger, others, own
from razor_pipeline.requests.submission import submit
from unlearning.conftest import intake
from unlearning.places import typed

ROOT = Path(__file__).parents[2]
SUBMIT = ("submit", "Greta Novak", "--requester", "CASE-0815")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def written(project: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (project / "data").rglob("*") if path.is_file()}


def test_a_second_ledger_is_refused_before_anything_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed(project, *SUBMIT).exit_code == 0
    assert typed(project, *SUBMIT).exit_code == 1  # control: it is the ledger that has the request
    before = written(project)
    monkeypatch.setenv("RAZOR_LEDGER", f"sqlite:///{project}/other.db")
    refused = typed(project, *SUBMIT)
    assert refused.exit_code == 1
    assert "requests belongs to another ledger" in refused.output
    assert written(project) == before
    assert Ledger(open_database(f"sqlite:///{project}/other.db")).requests() == []
    accused = json.loads(typed(project, "audit", "verify", "--json").output)["faults"]
    assert accused
    assert all("belongs to another ledger" in fault for fault in accused)
    monkeypatch.delenv("RAZOR_LEDGER")
    assert "intact" in typed(project, "audit", "verify").output


def test_enterprise_has_folders_of_its_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(project, *SUBMIT).exit_code == 0
    monkeypatch.setenv("RAZOR_LEDGER", f"sqlite:///{project}/team.db")
    assert typed(project, "--env", "enterprise", *SUBMIT).exit_code == 0
    assert "intact" in typed(project, "--env", "enterprise", "audit", "verify").output
    assert (project / "data/08_reporting/requests/enterprise/dashboard.html").is_file()
    monkeypatch.delenv("RAZOR_LEDGER")
    assert "intact" in typed(project, "audit", "verify").output


def test_a_first_line_that_was_written_anew_is_a_fault(project: Path) -> None:
    typed(project, *SUBMIT)
    owner = project / "data/08_reporting/requests" / OWNER
    owner.write_text("0" * 64)  # as if line 1 were another
    found = typed(project, "audit", "verify")
    assert found.exit_code == 1
    assert "or line 1 of this one was altered" in found.output


@pytest.fixture
def params(tmp_path: Path) -> RequestsParams:
    return RequestsParams(
        ledger=f"sqlite:///{tmp_path}/requests.db",
        folder=str(tmp_path / "models"),
        reports=str(tmp_path / "reports"),
    )


def test_folders_without_a_mark_are_taken_over_by_the_ledger_that_their_anchors_fit(
    lite: Ledger, tmp_path: Path, params: RequestsParams
) -> None:
    other = Ledger(open_database(f"sqlite:///{tmp_path}/other.db"))
    assert others(other, params) == []  # control: nothing is there
    submit(lite, intake(), "ops-1")
    submit(other, intake(), "ops-1")
    audit.write_anchor(Path(params.reports) / ANCHORS, *lite.head())
    evidence = tmp_path / "models/clip/REQ-2026-0001-v1/evidence/evidence.json"
    evidence.parent.mkdir(parents=True)
    seq, sha256 = lite.head()
    evidence.write_text(json.dumps({"audit_anchor": {"line": seq, "sha256": sha256}}))
    assert [Path(sentence.split()[0]).name for sentence in others(other, params)] == ["models", "reports"]
    with pytest.raises(LedgerError, match="belongs to another ledger"):
        own(other, params)
    own(open_ledger(params), params)
    marks = [(tmp_path / name / OWNER).read_text().strip() for name in ("models", "reports")]
    assert marks == [lite.first(), lite.first()]
