"""What a line of models survives: runs repeated, requests purged, one bad request among good ones, a cell changed."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.interfaces import EditResult, ModelFamily
from razor_pipeline.requests import chain, forgetting, leases
from razor_pipeline.requests.batch import gather, run_batch
from razor_pipeline.requests.ids import IdError, data_folder
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.promotion import restore_previous
from razor_pipeline.requests.purge import purge
from razor_pipeline.requests.states import Reason, Status
from razor_pipeline.requests.submission import submit
from razor_pipeline.requests.workplace import Workplace, sayable
from razor_pipeline.splitting import SplittingError
from unlearning.conftest import intake
from unlearning.places import (
    FIRST,
    SECOND,
    TARGETS,
    ZOO,
    approved,
    champion,
    copied,
    faults,
    intact,
    manifest,
    status,
    workplace,
)
from unlearning.test_brought_images import picture

OWNER = "here:1:1"
VOUCHED = ("model", "number", "request", "weights", "edits")  # what the audit log says of a version


def test_what_is_run_again_leaves_the_version_that_once_served_as_it_was(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    place = copied(done, tmp_path)
    old = champion(place.ledger)
    restore_previous(place.ledger, "clip", "dpo-1")
    place.ledger.approve(SECOND, "dpo-1", 1)
    before = chain.directory_sha256(Path(old.path) / "model")
    another = replace(place.protocol, seed=3)  # an edit from the same parent that passes its gates as well
    alone = replace(place, protocol=another)
    run_batch(alone)
    new = champion(place.ledger)
    assert (new.parent, old.parent) == (1, 1)
    assert new.weights != old.weights
    assert chain.directory_sha256(Path(old.path) / "model") == before
    assert faults(place, SECOND) == []
    assert intact(place)


def test_every_edit_of_a_line_begins_at_the_last_one_and_is_held_against_its_base(
    lite: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = workplace(lite, tmp_path)
    base = {name: tensor.clone() for name, tensor in place.base.module.named_parameters()}
    asked: list[tuple[ModelFamily, bool]] = []
    forget = forgetting.forget

    def unchanged(model: ModelFamily) -> bool:
        return all(torch.equal(tensor, base[name]) for name, tensor in model.module.named_parameters())

    def noting(model: ModelFamily, *rest: Any) -> EditResult:
        original = signature(forget).bind(model, *rest).arguments["original"]
        asked.append((original, unchanged(model)))
        return forget(model, *rest)

    monkeypatch.setattr(forgetting, "forget", noting)
    approved(lite, TARGETS[0], TARGETS[1])
    run_batch(place)
    [(first, first_is_base), (second, second_is_base)] = asked
    assert first is second is place.base
    assert (first_is_base, second_is_base) == (True, False)
    assert unchanged(place.base)


def test_who_was_purged_is_not_taught_again(done: tuple[Workplace, Path], tmp_path: Path) -> None:
    place = copied(done, tmp_path)
    serving = champion(place.ledger)

    def taught() -> set[str]:
        batch = gather(place, serving, [FIRST, SECOND], [], OWNER)
        samples = batch.examiner.samples
        return set(samples.loc[samples["role"] == "retain", "label"])

    assert not {TARGETS[0], TARGETS[1]} & taught()
    purge(place.ledger, FIRST, "dpo-1", tmp_path, 60.0)
    assert TARGETS[0] not in taught()
    with place.ledger.writing() as session:
        found = chain.version(session, "clip", 1)
        assert found is not None
        found.path = str(tmp_path / "elsewhere")  # control: only its evidence knows the images
    with pytest.raises(ValueError, match="restore the folder"):
        taught()


def test_no_purged_name_is_left_in_the_database(lite: Ledger, tmp_path: Path) -> None:
    name = submit(lite, intake("Zoltan Quirk"), "ops-1").id
    file = tmp_path / "requests.db"
    assert b"Zoltan" in file.read_bytes()  # control
    lite.reject(name, "dpo-1", Reason.WITHDRAWN)
    purge(lite, name, "dpo-1", tmp_path, 60.0)
    assert b"Zoltan" not in file.read_bytes()


def test_one_request_that_cannot_be_split_stops_no_other(lite: Ledger, tmp_path: Path) -> None:
    place = workplace(lite, tmp_path)
    canvas = manifest().loc[manifest()["domain"] != "portraits", "label"].iloc[0]
    names = approved(lite, TARGETS[0], canvas, TARGETS[1])
    chain.open_line(lite, "clip", place.base)
    leases.take(lite, place.lease, 60.0, OWNER)
    batch = gather(place, champion(lite), [], names, OWNER)
    assert list(batch.labels.values()) == [TARGETS[0], TARGETS[1]]
    assert len(batch.examiner.samples)
    assert (status(place, names[1]), status(place, names[0])) == (Status.FAILED, Status.APPROVED)
    assert lite.get(names[1]).reason == "target 'REQ-2026-0002' has 0 validation images, 1 are needed"


def test_what_is_forgotten_and_cannot_be_told_any_more_stops_the_line(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    """Else its images would be taught again."""
    place = copied(done, tmp_path)
    [third] = approved(place.ledger, TARGETS[2])
    gone = replace(place, manifest=manifest()[manifest()["label"] != TARGETS[0]])
    with pytest.raises(chain.ChainError, match=f"{FIRST} is forgotten already") as refused:
        run_batch(gone)
    assert f"target '{FIRST}' is not in the data" in str(refused.value)
    assert status(place, third) is Status.APPROVED
    # What fails in the batch that brings it still fails alone.
    held = gather(gone, champion(place.ledger), [SECOND], [FIRST, third], OWNER)
    assert list(held.labels) == [SECOND, third]


def test_a_champion_that_was_altered_fails_no_request(done: tuple[Workplace, Path], tmp_path: Path) -> None:
    place = copied(done, tmp_path)
    names = approved(place.ledger, TARGETS[2], TARGETS[3])
    shutil.copytree(champion(place.ledger).path, tmp_path / "copy")
    with place.ledger.writing() as session:
        chain.champion(session, "clip").path = str(tmp_path / "copy")
    sound = (tmp_path / "copy/model/model.safetensors").read_bytes()
    alter(tmp_path / "copy/model/model.safetensors")
    with pytest.raises(chain.ChainError, match=r"version 2 of 'clip' .* was altered"):
        run_batch(place)
    assert [status(place, name) for name in names] == ["approved", "approved"]
    (tmp_path / "copy/model/model.safetensors").write_bytes(sound)
    run_batch(place)
    assert [status(place, name) for name in names] == ["promoted", "promoted"]  # control


def test_a_base_model_may_move_and_another_is_refused(lite: Ledger, tmp_path: Path) -> None:
    place = workplace(lite, tmp_path)
    shutil.copytree(ZOO, tmp_path / "before")
    chain.open_line(lite, "clip", PretrainedDataset(family="clip", source=str(tmp_path / "before")).load())
    shutil.rmtree(tmp_path / "before")
    chain.open_line(lite, "clip", place.base)
    chain.load_version(champion(lite), place.base)
    assert intact(place)
    shutil.copytree(ZOO, tmp_path / "other")
    alter(tmp_path / "other/model.safetensors")
    other = PretrainedDataset(family="clip", source=str(tmp_path / "other")).load()
    with pytest.raises(chain.ChainError, match="is not the one that the line 'clip' began with"):
        chain.open_line(lite, "clip", other)


def alter(file: Path) -> None:
    tensors = load_file(file)
    tensors["logit_scale"] += 0.01
    save_file(tensors, file, metadata={"format": "pt"})


def test_a_refusal_that_is_kept_names_nobody(lite: Ledger, tmp_path: Path) -> None:
    root = tmp_path / "data"
    long = "quirk_and_all_of_the_family_in_the_summer_of_2019"
    name = submit(lite, intake("Zoltan Quirk", data=long), "ops-1").id
    (root / long).mkdir(parents=True)
    (root / long / "a.png").symlink_to("/etc/passwd")
    with pytest.raises(IdError) as refused:
        data_folder(long, root)
    found = [
        sayable(ValueError(text), lite.get(name), [TARGETS[0]], root)
        for text in (
            str(refused.value),
            f"image '{root}/{long}/zq's.png' cannot be read (No such file); put it back",
            f"is damaged ({root}/other/novak.png)",
            f"class '{TARGETS[0].replace(' ', '_')}' and zoltan quirk",
        )
    ]
    assert found == [
        f"data folder '{name}' holds a symbolic link",
        "image 'a brought file' cannot be read (No such file)",
        "is damaged (a brought file",
        f"class 'another class' and {name}",
    ]


def test_a_name_that_another_request_brought_is_in_no_reason(
    lite: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsplit(_: object, labels: list[str], *rest: object) -> None:
        if len(labels) > 1:
            raise SplittingError(" cannot be told from ".join(labels))

    place = workplace(lite, tmp_path)
    names = []
    for number, target in enumerate(("Zoltan Quirk", "Una Bell")):
        folder = tmp_path / f"data/case_{number}"
        folder.mkdir(parents=True)
        for image in range(8):
            (folder / f"{image}.png").write_bytes(picture(8 * number + image))
        names.append(submit(lite, intake(target, data=folder.name), "ops-1").id)
        with lite.writing() as session:
            lite.get(names[-1], session).status = Status.APPROVED
    chain.open_line(lite, "clip", place.base)
    monkeypatch.setattr("razor_pipeline.requests.batch.split_samples", unsplit)
    leases.take(lite, place.lease, 60.0, "elsewhere:1:1")  # this worker slept through its own
    with pytest.raises(leases.LeaseError, match="was taken over meanwhile"):
        gather(place, champion(lite), [], names, OWNER)
    assert lite.get(names[1]).state is Status.APPROVED
    gather(place, champion(lite), [], names, "elsewhere:1:1")
    assert lite.get(names[1]).reason == f"{names[1]} cannot be told from another class"


def test_one_changed_character_in_any_cell_of_the_ledger_is_found(
    done: tuple[Workplace, Path], tmp_path: Path
) -> None:
    place = copied(done, tmp_path)
    restore_previous(place.ledger, "clip", "dpo-1")
    assert intact(place)
    rng, file, cells = np.random.default_rng(0), tmp_path / "requests.db", 0

    def execute(statement: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            return database.execute(statement, values).fetchall()

    execute("DROP TRIGGER audit_no_update")
    sound = file.read_bytes()
    for table in ("audit", "requests", "versions"):
        columns = [str(row[1]) for row in execute(f"PRAGMA table_info({table})")]
        for rowid, *values in execute(f"SELECT rowid, {', '.join(columns)} FROM {table}"):
            for name, value in zip(columns, values, strict=True):
                if table == "versions" and name not in VOUCHED:
                    continue
                file.write_bytes(sound)
                changed = "x" if value is None else changed_in_one_place(value, rng)
                execute(f"UPDATE {table} SET {name} = ? WHERE rowid = ?", changed, rowid)
                assert not intact(place), (table, name, value, changed)
                cells += 1
    assert cells > 100
    file.write_bytes(sound)
    assert intact(place)  # control: what was found each time was the one cell


def changed_in_one_place(value: object, rng: np.random.Generator) -> object:
    if not isinstance(value, str):
        return value + 1_000_000  # type: ignore[operator]  # a number that no other row has
    at = int(rng.integers(len(value)))
    return value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :]
