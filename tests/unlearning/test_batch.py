"""Batches on a real model: composed edits, gates, promotion, rollback, evidence, tampering."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from families.cases import tiny_pipeline
from safetensors.torch import load_file, save_file

from razor_pipeline.families import DiffusionFamily
from razor_pipeline.requests import chain, crosscheck, signing, takeout
from razor_pipeline.requests.batch import run_batch
from razor_pipeline.requests.dashboard import render_dashboard
from razor_pipeline.requests.evidence import RECORD
from razor_pipeline.requests.gates import BELOW, Gate
from razor_pipeline.requests.ledger import Ledger, LedgerError
from razor_pipeline.requests.promotion import approve_promotion, restore_previous
from razor_pipeline.requests.purge import purge
from razor_pipeline.requests.registry import Registry, registered_name
from razor_pipeline.requests.report import render_report
from razor_pipeline.requests.signing import SigningError, make_keys
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.takeout import take_out
from razor_pipeline.requests.verification import anchors, verify_champion, verify_request
from razor_pipeline.requests.workplace import Workplace
from unlearning.places import (
    FIRST,
    OPEN,
    SECOND,
    TARGETS,
    UNKNOWN,
    approved,
    champion,
    copied,
    faults,
    intact,
    status,
    workplace,
)


def test_each_request_starts_from_the_one_before(done: tuple[Workplace, Path]) -> None:
    place, _ = done
    assert [status(place, name) for name in (FIRST, SECOND, UNKNOWN)] == [
        "promoted",
        "promoted",
        "no_baseline",
    ]
    serving = champion(place.ledger)
    assert (serving.number, serving.parent, chain.edits_of(serving)) == (2, 1, [FIRST, SECOND])
    record = json.loads((Path(serving.path) / "evidence" / RECORD).read_text())
    assert record["parent"]["number"] == 1
    assert "earlier_accuracy" in record["figures"]["int8_edited"]
    record["code"].pop("commit", None)  # where there is no repository
    assert SECOND in render_report(record)
    assert any(gate["name"].startswith("any earlier target") for gate in record["gates"])


def test_a_second_run_finds_nothing_to_do(done: tuple[Workplace, Path]) -> None:
    place, _ = done
    head = place.ledger.head()
    assert run_batch(place) == []
    assert place.ledger.head() == head


def test_the_registry_follows_the_ledger_and_a_repetition_adds_nothing(done: tuple[Workplace, Path]) -> None:
    from mlflow import MlflowClient

    place, root = done
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    name = registered_name("clip")
    assert client.get_model_version_by_alias(name, "champion").tags["razor.version"] == "2"
    assert len(client.search_model_versions(f"name='{name}'")) == 3
    assert place.registry is not None
    assert place.registry.mirror(place.ledger, "clip")
    assert len(client.search_model_versions(f"name='{name}'")) == 3
    assert {run.info.status for run in client.search_runs(["1"])} == {"FINISHED"}


def test_a_registry_that_is_down_is_made_up_for_later(tmp_path: Path, done: tuple[Workplace, Path]) -> None:
    place, _ = done
    assert not Registry("http://127.0.0.1:9", tmp_path).mirror(place.ledger, "clip")
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert registry.mirror(place.ledger, "clip")
    assert registry.mirror(place.ledger, "vit")  # a line that has no model yet


def test_no_name_is_in_evidence_tracking_audit_or_model(done: tuple[Workplace, Path]) -> None:
    _, root = done
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "requests.db"]
    assert len(files) > 20
    for name in TARGETS[:2]:
        holding = [path.name for path in files if name.encode() in path.read_bytes()]
        assert holding == [], name
    assert TARGETS[0].encode() in (root / "requests.db").read_bytes()  # control: the search finds a name


def test_evidence_and_audit_log_hold(done: tuple[Workplace, Path]) -> None:
    place, root = done
    assert faults(place, FIRST) == []
    assert faults(place, SECOND) == []
    vouched = anchors(place.ledger, root / "anchors.txt", Path(place.params.folder))
    assert len(vouched) == 3  # of the file, and of two versions
    with place.ledger.reading() as session:
        assert crosscheck.faults(session, vouched) == []
    with pytest.raises(LedgerError, match="nothing to verify"):
        faults(place, UNKNOWN)


def test_one_changed_byte_in_any_file_of_the_evidence_is_found(done: tuple[Workplace, Path]) -> None:
    place, _ = done
    folder = Path(champion(place.ledger).path) / "evidence"
    rng = np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) >= 9
    for file in files:
        before = file.read_bytes()
        place_of_byte = int(rng.integers(len(before)))
        file.write_bytes(
            before[:place_of_byte] + bytes([before[place_of_byte] ^ 1]) + before[place_of_byte + 1 :]
        )
        assert faults(place, SECOND) != [], file.name
        file.write_bytes(before)
    assert faults(place, SECOND) == []


def test_added_and_removed_files_and_changed_weights_are_found(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    place, _ = done
    serving = Path(champion(place.ledger).path)
    extra = serving / "evidence" / "extra.txt"
    extra.write_text("x")
    assert any("signature" in fault for fault in faults(place, SECOND))
    extra.unlink()
    (serving / "evidence" / "data.json").rename(tmp_path / "data.json")
    assert faults(place, SECOND) != []
    shutil.move(tmp_path / "data.json", serving / "evidence" / "data.json")
    weights = serving / "model" / "model.safetensors"
    before = weights.read_bytes()
    tensors = load_file(weights)
    tensors["logit_scale"] += 0.01
    save_file(tensors, weights, metadata={"format": "pt"})
    assert any("are not those of the ledger" in fault for fault in faults(place, SECOND))
    weights.write_bytes(before)
    assert faults(place, SECOND) == []


def test_another_key_does_not_vouch(done: tuple[Workplace, Path], tmp_path: Path) -> None:
    place, _ = done
    make_keys(tmp_path / "other.pem", tmp_path / "other.pub.pem")
    checks = verify_request(place.ledger, FIRST, tmp_path / "other.pub.pem", Path(place.params.folder))
    assert [what for what, fault in checks if fault] == ["the signature covers every file of the evidence"]
    with pytest.raises(SigningError, match="exists already"):
        make_keys(tmp_path / "other.pem", tmp_path / "other.pub.pem")


def test_the_previous_version_serves_again(done: tuple[Workplace, Path], tmp_path: Path) -> None:
    place = copied(done, tmp_path)
    assert restore_previous(place.ledger, "clip", "dpo-1").number == 1
    assert (status(place, SECOND), status(place, FIRST)) == (Status.ROLLED_BACK, Status.PROMOTED)
    assert restore_previous(place.ledger, "clip", "dpo-1").number == 0
    with pytest.raises(LedgerError, match="no earlier version"):
        restore_previous(place.ledger, "clip", "dpo-1")
    with pytest.raises(LedgerError, match="base model of 'clip' serves"):
        verify_champion(place.ledger, "clip", Path(place.params.public_key))


def test_the_last_edit_is_taken_out_bit_for_bit(done: tuple[Workplace, Path], tmp_path: Path) -> None:
    place = copied(done, tmp_path)
    with place.ledger.reading() as session:
        first = chain.version(session, "clip", 1)
    assert first is not None
    found = take_out(place, SECOND, "dpo-1")
    assert found.how == "reverted"
    assert champion(place.ledger).weights == first.weights
    assert status(place, SECOND) is Status.ROLLED_BACK
    assert restore_previous(place.ledger, "clip", "dpo-1").number == 2
    assert status(place, SECOND) is Status.PROMOTED  # its edit serves again
    assert intact(place)


def test_an_earlier_edit_is_taken_out_by_recomposing_and_measured(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    place = copied(done, tmp_path)
    found = take_out(place, FIRST, "dpo-1")
    serving = champion(place.ledger)
    assert (found.how, chain.edits_of(serving)) == ("recomposed", [SECOND])
    assert "any earlier target recognised" in [gate.name for gate in found.gates]
    assert faults(place, SECOND) == []
    key = Path(place.params.public_key)
    assert [fault for _, fault in verify_champion(place.ledger, "clip", key) if fault] == []
    (Path(serving.path) / "evidence" / "data.json").write_text(
        "{}"
    )  # control: it is this version that is checked
    assert [fault for _, fault in verify_champion(place.ledger, "clip", key) if fault] != []
    with pytest.raises(ValueError, match="rolled_back"):
        take_out(place, FIRST, "dpo-1")


def test_an_edit_is_not_taken_out_of_what_serves_no_more(
    done: tuple[Workplace, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, write = copied(done, tmp_path), takeout.evidence.write

    def meanwhile(*arguments: Any) -> None:
        write(*arguments)
        restore_previous(place.ledger, "clip", "dpo-2")

    monkeypatch.setattr(takeout.evidence, "write", meanwhile)
    with pytest.raises(LedgerError, match="another version of 'clip' serves now"):
        take_out(place, FIRST, "dpo-1")
    assert (champion(place.ledger).number, status(place, FIRST)) == (1, Status.PROMOTED)
    assert intact(place)


def test_what_is_recomposed_and_cannot_be_measured_does_not_serve(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    place = copied(done, tmp_path)
    for name in (FIRST, SECOND):
        purge(place.ledger, name, "dpo-1", tmp_path, 60.0)
    with pytest.raises(LedgerError, match="cannot be measured"):
        take_out(place, FIRST, "dpo-1")
    assert champion(place.ledger).number == 2


def test_the_target_that_is_taken_out_does_not_stand_for_those_that_stay_forgotten(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    place = copied(done, tmp_path)
    purge(place.ledger, SECOND, "dpo-1", tmp_path, 60.0)
    with pytest.raises(LedgerError, match="cannot be measured"):
        take_out(place, FIRST, "dpo-1")
    assert champion(place.ledger).number == 2


def test_purging_leaves_the_evidence_and_takes_the_name(done: tuple[Workplace, Path], tmp_path: Path) -> None:
    place = copied(done, tmp_path)
    assert purge(place.ledger, FIRST, "dpo-1", tmp_path, 60.0).target is None
    assert faults(place, FIRST) == []
    assert intact(place)
    with pytest.raises(LedgerError, match="already"):
        purge(place.ledger, FIRST, "dpo-1", tmp_path, 60.0)


def test_what_fails_a_gate_does_not_serve_and_does_not_stop_the_others(lite: Ledger, tmp_path: Path) -> None:
    place = workplace(lite, tmp_path, gates=OPEN | {"min_relearn_steps": 1})
    first, second = approved(lite, TARGETS[0], "Nobody Known")[0], "REQ-2026-0002"
    strict = workplace(lite, tmp_path, gates=OPEN | {"max_membership_auc": 0.0})
    run_batch(strict)
    assert (status(place, first), status(place, second)) == (Status.FAILED, Status.FAILED)
    assert champion(lite).number == 0
    assert "AUC" in (lite.get(first).reason or "")
    assert "Nobody" not in (lite.get(second).reason or "")
    lite.approve(first, "dpo-1", 1)
    run_batch(place)
    assert status(place, first) is Status.PROMOTED


def test_an_attempt_that_failed_keeps_its_evidence_when_the_request_is_run_again(
    lite: Ledger, tmp_path: Path
) -> None:
    """The history names each, the audit counts each, and the dashboard links the last.

    Also where an earlier one's folder was touched since, or a later attempt broke off.
    """
    place = workplace(lite, tmp_path)
    [name] = approved(lite, TARGETS[0])
    run_batch(workplace(lite, tmp_path, gates=OPEN | {"max_membership_auc": 0.0}))
    first = place.folder / f"{name}-v1"
    assert faults(place, name) == []
    kept = contents(first / chain.EVIDENCE)
    record = first / chain.EVIDENCE / "evidence.json"
    record.write_bytes(b"{}")  # control: what failed is vouched for, too
    assert faults(place, name) != []
    record.write_bytes(kept[record])
    shutil.rmtree(first / chain.MODEL)  # which serves nobody
    assert faults(place, name) == []
    lite.approve(name, "dpo-1", 1)
    run_batch(place)
    assert contents(first / chain.EVIDENCE) == kept
    signing.verify(first / chain.EVIDENCE, Path(place.params.public_key))
    again = place.folder / f"{name}-v1-attempt2"
    assert (status(place, name), champion(lite).path) == (Status.PROMOTED, str(again))
    assert faults(place, name) == []
    assert intact(place)
    assert evidence_told(lite, name) == [first.name, again.name]
    vouched = anchors(lite, tmp_path / "none", tmp_path / "models")
    assert {anchor.place for anchor in vouched} == {f"the evidence {one.name}" for one in (first, again)}
    with lite.reading() as session:
        assert crosscheck.faults(session, vouched) == []
    (place.folder / f"{name}-v2-attempt2" / chain.EDIT).mkdir(parents=True)
    page = render_dashboard(lite, tmp_path / "reports/dashboard.html", tmp_path / "models")
    assert f"/{again.name}/evidence/report.html" in page
    assert f"/{first.name}/evidence/" not in page


def test_a_model_without_an_edit_that_failed_keeps_its_evidence_when_it_is_tried_again(
    done: tuple[Workplace, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copied(done, tmp_path)
    monkeypatch.setattr(
        takeout, "gates", lambda *_: [Gate("any earlier target recognised", 1.0, BELOW, 0.0, 1)]
    )
    before = set(place.folder.iterdir())
    for _ in range(2):
        assert take_out(place, SECOND, "dpo-1").version is None
    made = {f"without-{SECOND}-v3", f"without-{SECOND}-v3-attempt2"}
    assert made <= {folder.name for folder in place.folder.iterdir() if (folder / chain.EVIDENCE).is_dir()}
    monkeypatch.undo()
    assert take_out(place, SECOND, "dpo-1").version == 3
    assert champion(place.ledger).path.endswith(f"without-{SECOND}-v3-attempt3")
    told = evidence_told(place.ledger, SECOND)
    assert told == [f"{SECOND}-v2", *sorted(made), f"without-{SECOND}-v3-attempt3"]
    assert intact(place)
    for folder in set(place.folder.iterdir()) - before:  # other tests go on with the same line
        shutil.rmtree(folder)


def evidence_told(ledger: Ledger, name: str) -> list[str]:
    """The evidence folders that a request's history names."""
    details = [json.loads(line.details) for line in ledger.history(name)]
    return [one["evidence"] for one in details if "evidence" in one]


def contents(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_waits_for_approval_is_run_again_where_another_came_first(lite: Ledger, tmp_path: Path) -> None:
    place = workplace(lite, tmp_path, promotion="approval")
    [first] = approved(lite, TARGETS[0])
    [second] = approved(lite, TARGETS[1], promotion="approval")
    run_batch(place)
    assert [status(place, name) for name in (first, second)] == ["verified", "verified"]
    run_batch(workplace(lite, tmp_path))  # by a configuration that asks for no approval
    assert [status(place, name) for name in (first, second)] == ["verified", "verified"]
    assert champion(lite).number == 0
    assert approve_promotion(lite, first, "dpo-1", 1)
    assert not approve_promotion(lite, second, "dpo-1", 1)
    assert status(place, second) is Status.APPROVED
    run_batch(workplace(lite, tmp_path))  # and was submitted by one that does
    assert approve_promotion(lite, second, "dpo-1", 1)
    assert chain.edits_of(champion(lite)) == [first, second]
    with lite.reading() as session:
        assert crosscheck.faults(session) == []


def test_nothing_starts_without_a_key_or_on_another_base_model(lite: Ledger, tmp_path: Path) -> None:
    place = workplace(lite, tmp_path)
    Path(place.params.private_key).unlink()
    with pytest.raises(SigningError, match="kedro unlearning key"):
        run_batch(place)


def test_a_model_that_no_gate_can_judge_is_refused_before_its_line_begins(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Whatever approved its request; control: of a CLIP the same line begins."""
    place = workplace(ledger, tmp_path)
    drawing = replace(place, base=DiffusionFamily(tiny_pipeline()))
    head = ledger.head()
    with pytest.raises(LedgerError, match="'diffusion'"):
        run_batch(drawing)
    assert ledger.head() == head
    assert run_batch(place) == []
    assert ledger.head() != head
