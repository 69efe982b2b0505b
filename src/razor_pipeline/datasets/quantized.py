"""Packed weights of quantized models: one safetensors file per scheme, replaced as a whole."""

from __future__ import annotations

from kedro.io import DatasetError
from safetensors.torch import load_file, save_file
from torch import Tensor

from razor_pipeline.datasets.atomic import replace_directory
from razor_pipeline.datasets.files import PathDataset

Packed = dict[str, dict[str, Tensor]]


class QuantizedModelsDataset(PathDataset[Packed]):
    """A directory with ``<scheme>.safetensors`` for each scheme; see :func:`razor_pipeline.core.quantize.unpacked`."""

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
