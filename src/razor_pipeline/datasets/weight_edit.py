"""A weight edit on disk: ``weight_edit.safetensors`` and ``manifest.json``, replaced together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from kedro.io import DatasetError
from safetensors.torch import load_file, save_file
from torch import Tensor

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.gradients import NonFiniteError, assert_finite
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.datasets.atomic import replace_directory
from razor_pipeline.datasets.files import PathDataset

TENSORS, MANIFEST = "weight_edit.safetensors", "manifest.json"
STATES = ("before", "after")


def tensor_sha256(tensor: Tensor) -> str:
    """sha256 of a tensor's bytes."""
    return hashlib.sha256(
        tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    ).hexdigest()


def save_edit(edit: WeightEdit, directory: Path) -> None:
    """Write an edit into an existing directory.

    Raises:
        NonFiniteError: a weight is NaN or Inf; names the slice.
    """
    assert_finite(edit.after, "the edited weight")
    tensors = {
        f"{state}/{key}": t.contiguous() for state in STATES for key, t in getattr(edit, state).items()
    }
    save_file(tensors, directory / TENSORS)
    manifest = {
        **edit.manifest,
        "components": list(edit.components),
        "slices": [asdict(part) for part in edit.slices],
        "sha256": {name: tensor_sha256(tensor) for name, tensor in tensors.items()},
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def load_edit(directory: Path) -> WeightEdit:
    """Read an edit and check every tensor against its hash.

    Raises:
        DatasetError: a file is missing or unreadable, or a tensor is not the one that was saved.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        recorded, components = manifest.pop("sha256"), tuple(manifest.pop("components"))
        slices = tuple(ParameterSlice(**part) for part in manifest.pop("slices"))
        tensors = load_file(directory / TENSORS)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{directory} is no weight edit: it has no {Path(error.filename or TENSORS).name}; name the directory that "
            f"holds {MANIFEST} and {TENSORS}"
        ) from error
    except Exception as error:
        raise DatasetError(
            f"{directory} is no weight edit, or a damaged one ({type(error).__name__}: {error}); copy it again"
        ) from error
    for name in sorted(recorded.keys() | tensors.keys()):
        if name not in tensors or tensor_sha256(tensors[name]) != recorded.get(name):
            raise DatasetError(
                f"{directory / TENSORS}: '{name}' is not the tensor that was saved; the file was altered"
            )
    before, after = (
        {key.removeprefix(f"{state}/"): t for key, t in tensors.items() if key.startswith(f"{state}/")}
        for state in STATES
    )
    return WeightEdit(slices, before, after, components, manifest)


class WeightEditDataset(PathDataset[WeightEdit]):
    """A weight edit as a directory."""

    def load(self) -> WeightEdit:
        """Read and verify the edit.

        Raises:
            DatasetError: it is missing, unreadable or altered.
        """
        return load_edit(self.path)

    def save(self, data: WeightEdit) -> None:
        """Replace the directory; the old one stays until the new one is complete on disk."""
        try:
            with replace_directory(self.path) as beside:
                save_edit(data, beside)
        except NonFiniteError as error:
            raise DatasetError(str(error)) from error

    def _exists(self) -> bool:
        return (self.path / MANIFEST).is_file()
