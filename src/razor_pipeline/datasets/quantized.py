"""Packed weights of quantized models: one safetensors file per scheme, replaced as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from safetensors.torch import load_file, save_file
from torch import Tensor

from razor_pipeline.datasets.atomic import replace_directory

Packed = dict[str, dict[str, Tensor]]


class QuantizedModelsDataset(AbstractDataset[Packed, Packed]):
    """A directory ``<scheme>.safetensors``; see :func:`razor_pipeline.core.quantize.unpacked`.

    Args:
        filepath: the directory.
        metadata: ignored by Kedro, read by kedro-viz (its layer).
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(filepath)
        self.metadata = metadata

    def load(self) -> Packed:
        """Scheme -> packed weights.

        Raises:
            DatasetError: the directory is missing.
        """
        if not self.path.is_dir():
            raise DatasetError(
                f"{self.path} does not exist; run the quantization pipeline, or the whole pipeline"
            )
        return {file.stem: load_file(file) for file in sorted(self.path.glob("*.safetensors"))}

    def save(self, data: Packed) -> None:
        """Replace the directory; the old one stays until the new one is complete on disk."""
        with replace_directory(self.path) as beside:
            for scheme, state in data.items():
                save_file(
                    {name: tensor.contiguous() for name, tensor in state.items()},
                    beside / f"{scheme}.safetensors",
                )

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}
