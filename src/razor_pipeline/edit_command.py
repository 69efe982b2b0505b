"""`kedro edit`: apply, revert or verify a weight edit on a model directory, bit for bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group()
def edit() -> None:
    """Apply, revert or verify a weight edit."""


def _on_model_and_edit(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option(
            "--model", type=FOLDER, required=True, help="Model directory in the Hugging Face layout."
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
    weight_edit, files = _read(model, edit_path)
    state = weight_edit.state_of({name: tensor for file in files.values() for name, tensor in file.items()})
    words = {
        "base": "holds the weights from before the edit",
        "edited": "holds the edited weights",
        "other": "is neither the base nor the edited model",
    }
    _tell({"state": state, "weights": weight_edit.weights}, f"{model} {words[state]}", as_json)
    if state == "other":
        raise click.exceptions.Exit(1)


def _rewrite(verb: str, model: Path, edit_path: Path, out: Path, as_json: bool) -> None:
    from safetensors.torch import save_file

    from razor_pipeline.core.weight_edit import EditMismatchError
    from razor_pipeline.datasets.atomic import replace_directory

    _refuse_place(out, {"--model": model, "--edit": edit_path})
    weight_edit, files = _read(model, edit_path)
    try:
        getattr(weight_edit, verb)({name: tensor for file in files.values() for name, tensor in file.items()})
    except EditMismatchError as error:
        raise click.ClickException(str(error)) from error
    changed = {part.parameter for part in weight_edit.slices}
    with replace_directory(out) as beside:
        shutil.copytree(model, beside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("README.md"))
        for path, tensors in files.items():
            if changed & tensors.keys():
                save_file(tensors, beside / path.name, metadata={"format": "pt"})
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


def _read(model: Path, edit_path: Path) -> tuple[Any, dict[Path, dict[str, Any]]]:
    """The edit, and the tensors of every weight file of the model."""
    from kedro.io import DatasetError
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from razor_pipeline.datasets.weight_edit import load_edit

    try:
        weight_edit = load_edit(edit_path)
        files = {path: load_file(path) for path in sorted(model.glob("*.safetensors"))}
    except (DatasetError, SafetensorError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if not files:
        raise click.ClickException(f"{model} holds no safetensors file; give a model directory")
    return weight_edit, files


def _tell(facts: dict[str, Any], sentence: str, as_json: bool) -> None:
    click.echo(json.dumps(facts) if as_json else sentence)
