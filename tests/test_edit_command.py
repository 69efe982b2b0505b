"""`kedro edit`: apply, revert and verify on a saved model, bit for bit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from families.cases import CASES, Case
from safetensors.torch import load_file, save_file

from razor_pipeline.cli import cli
from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.datasets.weight_edit import TENSORS, WeightEditDataset, load_edit

NAME = "vision_model.encoder.layers.1.mlp.fc1.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "base"
    CASES[0].build().save_pretrained(path)
    (path / "README.md").write_text("the base's card")
    return path


@pytest.fixture
def edit(base: Path, tmp_path: Path) -> Path:
    tensor = load_file(base / "model.safetensors")[NAME]
    part = ParameterSlice(NAME, 0, 2, 6)
    before = part.view(tensor).clone()
    weight_edit = WeightEdit(
        (part,), {part.key: before}, {part.key: before + 0.1}, ("mlp",), {"family": "clip"}
    )
    WeightEditDataset(filepath=str(tmp_path / "edit")).save(weight_edit)
    return tmp_path / "edit"


def call(verb: str, model: Path, edit: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["edit", verb, "--model", str(model), "--edit", str(edit), *more])


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "model.safetensors")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sentence(done: Result) -> str:
    """What was said, without the line breaks of a narrow terminal."""
    return " ".join(done.output.replace("│", " ").split())


def test_apply_changes_the_slice_and_nothing_else(base: Path, edit: Path, tmp_path: Path) -> None:
    done = call("apply", base, edit, "--out", str(tmp_path / "edited"))
    assert done.exit_code == 0, done.output
    old, new = weights(base), weights(tmp_path / "edited")
    assert [name for name in old if not torch.equal(old[name], new[name])] == [NAME]
    assert torch.equal(new[NAME][2:6], old[NAME][2:6] + 0.1)
    assert torch.equal(new[NAME][:2], old[NAME][:2])
    assert torch.equal(new[NAME][6:], old[NAME][6:])


def test_the_result_opens_and_does_not_carry_the_bases_card(base: Path, edit: Path, tmp_path: Path) -> None:
    from transformers import CLIPModel

    call("apply", base, edit, "--out", str(tmp_path / "edited"))
    opened = CLIPModel.from_pretrained(tmp_path / "edited")
    assert torch.equal(opened.state_dict()[NAME], weights(tmp_path / "edited")[NAME])
    assert not (tmp_path / "edited/README.md").exists()


def test_revert_brings_the_bases_file_back_byte_for_byte(base: Path, edit: Path, tmp_path: Path) -> None:
    call("apply", base, edit, "--out", str(tmp_path / "edited"))
    done = call("revert", tmp_path / "edited", edit, "--out", str(tmp_path / "back"))
    assert done.exit_code == 0, done.output
    files = [
        (path / "model.safetensors").read_bytes() for path in (base, tmp_path / "edited", tmp_path / "back")
    ]
    assert files[2] == files[0]
    assert files[1] != files[0]


def test_verify_tells_base_edited_and_other_apart(base: Path, edit: Path, tmp_path: Path) -> None:
    call("apply", base, edit, "--out", str(tmp_path / "edited"))
    tensors = weights(tmp_path / "edited")
    tensors[NAME][3, 0] += 1e-6
    shutil.copytree(tmp_path / "edited", tmp_path / "other")
    save_file(tensors, tmp_path / "other/model.safetensors", metadata={"format": "pt"})
    for model, state, code in (
        (base, "base", 0),
        (tmp_path / "edited", "edited", 0),
        (tmp_path / "other", "other", 1),
    ):
        done = call("verify", model, edit, "--json")
        assert (json.loads(done.output)["state"], done.exit_code) == (state, code)


def test_what_does_not_fit_is_refused_and_nothing_is_written(base: Path, edit: Path, tmp_path: Path) -> None:
    done = call("revert", base, edit, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "does not hold the edited weights" in done.output
    assert not (tmp_path / "out").exists()


def test_an_altered_edit_is_refused(base: Path, edit: Path, tmp_path: Path) -> None:
    tensors = load_file(edit / TENSORS)
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, edit / TENSORS)
    done = call("apply", base, edit, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "the file was altered" in done.output


@pytest.mark.parametrize("place", ["base", ".", "base/new", "edit", "edit/new"])
def test_neither_model_nor_edit_is_overwritten(base: Path, edit: Path, tmp_path: Path, place: str) -> None:
    shutil.copytree(base, tmp_path / "base")
    before = contents(tmp_path)
    done = call("apply", tmp_path / "base", edit, "--out", str(tmp_path / place))
    assert done.exit_code == 2
    assert "name another directory" in sentence(done)
    assert contents(tmp_path) == before


def test_what_lies_in_the_directory_to_write_to_stays(base: Path, edit: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/photo.jpg").write_text("x")
    (tmp_path / "file").write_text("x")
    before = contents(tmp_path)
    for verb, name in (("apply", "out"), ("revert", "out"), ("apply", "file")):
        done = call(verb, base, edit, "--out", str(tmp_path / name))
        assert done.exit_code == 2
        assert "exists and is not empty; name a new directory" in sentence(done)
    assert contents(tmp_path) == before
    (tmp_path / "out/photo.jpg").unlink()
    assert (
        call("apply", base, edit, "--out", str(tmp_path / "out")).exit_code == 0
    )  # control: it is empty now


def test_a_directory_without_weights_is_refused(edit: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = call("verify", tmp_path / "empty", edit)
    assert done.exit_code == 1
    assert "holds no safetensors file" in done.output


def half(case: Case, folder: Path) -> tuple[Path, Path]:
    """A model stored in half precision, and an edit of its first head and its last matrix."""
    family = case.build()
    family.stored_dtype = torch.float16
    PretrainedDataset(family=case.name, source=str(folder / "base")).save(family)
    parameters = dict(family.module.named_parameters())
    heads, matrices = family.components("head"), family.components("matrix")
    taken = {part.parameter for part in heads[0].slices}
    last = next(one for one in reversed(matrices) if taken.isdisjoint(part.parameter for part in one.slices))
    parts = (*heads[0].slices, *last.slices)
    before = {part.key: part.view(parameters[part.parameter]).half() for part in parts}
    after = {key: tensor + 0.1 for key, tensor in before.items()}
    WeightEditDataset(filepath=str(folder / "edit")).save(
        WeightEdit(parts, before, after, (heads[0].name, last.name), {"family": case.name})
    )
    return folder / "base", folder / "edit"


def stored(model: Path) -> dict[Path, bytes]:
    return {path.relative_to(model): path.read_bytes() for path in model.rglob("*.safetensors")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_family_is_edited_and_comes_back_byte_for_byte(case: Case, tmp_path: Path) -> None:
    base, edit = half(case, tmp_path)
    edited, back = tmp_path / "edited", tmp_path / "back"
    assert (done := call("apply", base, edit, "--out", str(edited))).exit_code == 0, done.output
    assert (done := call("revert", edited, edit, "--out", str(back))).exit_code == 0, done.output
    assert stored(back) == stored(base)
    assert stored(edited).keys() == stored(base).keys()
    assert stored(edited) != stored(base)
    for model, state in ((base, "base"), (edited, "edited"), (back, "base")):
        assert f'"state": "{state}"' in call("verify", model, edit, "--json").output
    opened = PretrainedDataset(family=case.name, source=str(edited), device="cpu").load()
    old = PretrainedDataset(family=case.name, source=str(base), device="cpu").load()
    load_edit(edit).apply(dict(old.module.named_parameters()))
    wanted = old.module.state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in opened.module.state_dict().items())
    assert call("revert", base, edit, "--out", str(tmp_path / "no")).exit_code == 1


def test_a_part_that_would_be_rounded_is_refused(tmp_path: Path) -> None:
    base, edit = half(next(case for case in CASES if case.name == "diffusion"), tmp_path)
    path = base / "unet/diffusion_pytorch_model.safetensors"
    save_file({name: tensor.float() + 1e-6 for name, tensor in load_file(path).items()}, path)
    done = call("apply", base, edit, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "torch.float32 and the model would be written in torch.float16, which rounds them" in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("manifest", [{}, {"family": "clap"}])
def test_an_edit_of_an_unknown_family_is_refused(
    base: Path, edit: Path, tmp_path: Path, manifest: dict[str, str]
) -> None:
    made = load_edit(edit)
    WeightEditDataset(filepath=str(tmp_path / "other")).save(replace(made, manifest=manifest))
    done = call("verify", base, tmp_path / "other")
    assert done.exit_code == 1
    assert "which must be one of clip, vit" in done.output


def test_a_model_of_another_family_is_refused(edit: Path, tmp_path: Path) -> None:
    vit = next(case for case in CASES if case.name == "vit").build()
    PretrainedDataset(family="vit", source=str(tmp_path / "vit")).save(vit)
    done = call("verify", tmp_path / "vit", edit)
    assert done.exit_code == 1
    assert "does not open as clip: its configuration says 'vit', which is of the family vit" in sentence(done)


def test_a_model_that_does_not_open_is_called_what_was_typed(base: Path, edit: Path, tmp_path: Path) -> None:
    """Nobody typed model.source, nor a family: it is that of the edit. Control: the model that it was made in opens."""
    copied = tmp_path / "copied"
    shutil.copytree(base, copied)
    assert call("verify", copied, edit).exit_code == 0
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    told = sentence(call("verify", copied, edit))
    assert f"the model '{copied}' does not open as clip" in told
    assert f"that of the edit in {edit}" in told
    assert "model.source" not in told


def test_a_place_that_cannot_be_made_is_refused_in_a_sentence(base: Path, edit: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = call("apply", base, edit, "--out", str(tmp_path / "file" / "below"))
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
