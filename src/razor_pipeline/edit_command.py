"""`kedro edit`: apply, revert or verify a weight edit on a model directory, bit for bit.

The model is opened and saved by the family that the edit was made in: the names of weights in files are not those that
an edit knows, and of a pipeline each part has files of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from razor_pipeline.core.weight_edit import WeightEdit
    from razor_pipeline.interfaces import ModelFamily

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group()
def edit() -> None:
    """Apply, revert or verify a weight edit."""


def _on_model_and_edit(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option(
            "--model", type=FOLDER, required=True, help="Model directory, of the family of the edit."
        ),
        click.option("--edit", "edit_path", type=FOLDER, required=True, help="Directory of the weight edit."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@edit.command()
@_on_model_and_edit
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="New directory for the edited model."
)
def apply(model: Path, edit_path: Path, out: Path, as_json: bool) -> None:
    """Write the edited weights into a copy of the base model."""
    _rewrite("apply", model, edit_path, out, as_json)


@edit.command()
@_on_model_and_edit
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="New directory for the base model."
)
def revert(model: Path, edit_path: Path, out: Path, as_json: bool) -> None:
    """Write the base's weights back into a copy of the edited model."""
    _rewrite("revert", model, edit_path, out, as_json)


@edit.command()
@_on_model_and_edit
def verify(model: Path, edit_path: Path, as_json: bool) -> None:
    """Tell whether a model holds the base's weights, the edited ones, or neither (exit code 1)."""
    weight_edit, opened = _read(model, edit_path)
    state = weight_edit.state_of(dict(opened.module.named_parameters()))
    words = {
        "base": "holds the weights from before the edit",
        "edited": "holds the edited weights",
        "other": "is neither the base nor the edited model",
    }
    _tell({"state": state, "weights": weight_edit.weights}, f"{model} {words[state]}", as_json)
    if state == "other":
        raise click.exceptions.Exit(1)


def _rewrite(verb: str, model: Path, edit_path: Path, out: Path, as_json: bool) -> None:
    from kedro.io import DatasetError

    from razor_pipeline.core.weight_edit import EditMismatchError
    from razor_pipeline.datasets.pretrained import PretrainedDataset

    _refuse_place(out, {"--model": model, "--edit": edit_path})
    weight_edit, opened = _read(model, edit_path)
    _refuse_rounding(model, opened)
    try:
        getattr(weight_edit, verb)(dict(opened.module.named_parameters()))
    except EditMismatchError as error:
        raise click.ClickException(str(error)) from error
    try:
        PretrainedDataset(family=opened.name, source=str(out), device="cpu").save(opened)
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    done = "edited" if verb == "apply" else "base"
    _tell({"state": done, "weights": weight_edit.weights, "out": str(out)}, f"{out}: {done} model", as_json)


def _refuse_place(out: Path, given: dict[str, Path]) -> None:
    """Refuse a directory to write to that holds anything: it would be replaced as a whole."""
    place = out.resolve()
    for option, path in given.items():
        taken = path.resolve()
        if taken.is_relative_to(place) or place.is_relative_to(taken):
            raise click.BadParameter(
                f"{out} is, holds or lies in the directory of {option}; name another directory",
                param_hint="--out",
            )
    if out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
        raise click.BadParameter(
            f"{out} exists and is not empty; name a new directory, or remove it first", param_hint="--out"
        )


def _refuse_rounding(model: Path, opened: ModelFamily) -> None:
    """Refuse parts that the dtype of the saved model does not hold exactly: it is one for all of them."""
    import torch
    from safetensors import safe_open

    from razor_pipeline.datasets.pretrained import weight_files

    dtypes = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}
    stored = opened.stored_dtype
    for path in weight_files(model):
        with safe_open(path, framework="pt") as file:
            found = {dtypes.get(file.get_slice(name).get_dtype()) for name in list(file.keys())}
        for dtype in filter(None, found):
            if torch.promote_types(dtype, stored) != stored:
                raise click.ClickException(
                    f"{path} holds weights in {dtype} and the model would be written in {stored}, which rounds them; "
                    "save all its parts in one dtype first"
                )


def _read(model: Path, edit_path: Path) -> tuple[WeightEdit, ModelFamily]:
    """The edit, and the model in float32, on the CPU."""
    from kedro.io import DatasetError

    from razor_pipeline.datasets.pretrained import PretrainedDataset
    from razor_pipeline.datasets.weight_edit import MANIFEST, load_edit
    from razor_pipeline.families import FAMILIES

    try:
        weight_edit = load_edit(edit_path)
        family = weight_edit.manifest.get("family")
        if family not in FAMILIES:
            raise click.ClickException(
                f"{edit_path / MANIFEST} names the family '{family}', which must be one of {', '.join(FAMILIES)}; "
                "the edit was made with another version, or by hand"
            )
    except DatasetError as error:
        raise click.ClickException(str(error)) from error
    try:
        return weight_edit, PretrainedDataset(family=family, source=str(model), device="cpu").load()
    except DatasetError as error:
        raise click.ClickException(f"{error} (the family is that of the edit in {edit_path})") from error


def _tell(facts: dict[str, Any], sentence: str, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else sentence)
