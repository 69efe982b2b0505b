"""Single-file datasets with atomic saves and errors a user can act on."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from razor_pipeline.core.gradients import NonFiniteError, assert_finite
from razor_pipeline.datasets.atomic import replace_file

T = TypeVar("T")


class PathDataset(AbstractDataset[T, T], Generic[T]):
    """Something at a path of its own.

    Args:
        filepath: the file or directory.
        metadata: ignored by Kedro, read by kedro-viz (its layer).
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(filepath)
        self.metadata = metadata

    def _exists(self) -> bool:
        return self.path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}


class FileDataset(PathDataset[T]):
    """One file, replaced as a whole; see :class:`PathDataset`."""

    def load(self) -> T:
        """Read the file.

        Raises:
            DatasetError: it is missing or unreadable; names the file and the fix.
        """
        if not self.path.exists():
            raise DatasetError(
                f"{self.path} does not exist; run the step that makes it, or the whole pipeline"
            )
        try:
            return self.read()
        except Exception as error:
            raise DatasetError(
                f"{self.path} cannot be read as {type(self).__name__} ({type(error).__name__}: {error}); "
                "delete it and run the step that makes it again"
            ) from error

    def save(self, data: T) -> None:
        """Replace the file; the old one stays until the new one is complete on disk."""
        with replace_file(self.path) as beside:
            self.write(data, beside)

    @abstractmethod
    def read(self) -> T:
        """Parse the existing file."""

    @abstractmethod
    def write(self, data: T, path: Path) -> None:
        """Write all of ``data`` to ``path``."""


class ParquetDataset(FileDataset[pd.DataFrame]):
    """A table."""

    def read(self) -> pd.DataFrame:
        """Read the table."""
        return pd.read_parquet(self.path)

    def write(self, data: pd.DataFrame, path: Path) -> None:
        """Write the table without its index."""
        data.to_parquet(path, index=False)


class JSONDataset(FileDataset[Any]):
    """A JSON document, keys in insertion order; NaN and Inf are refused."""

    def read(self) -> Any:
        """Parse the document."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    def write(self, data: Any, path: Path) -> None:
        """Write the document."""
        path.write_text(
            json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8"
        )


class TextDataset(FileDataset[str]):
    """A text file, e.g. a page of HTML."""

    def read(self) -> str:
        """Read the text."""
        return self.path.read_text(encoding="utf-8")

    def write(self, data: str, path: Path) -> None:
        """Write the text."""
        path.write_text(data, encoding="utf-8")


class BytesDataset(FileDataset[bytes]):
    """A binary file, e.g. a PNG."""

    def read(self) -> bytes:
        """Read the bytes."""
        return self.path.read_bytes()

    def write(self, data: bytes, path: Path) -> None:
        """Write the bytes."""
        path.write_bytes(data)


class TensorsDataset(FileDataset[dict[str, Tensor]]):
    """Named tensors as safetensors; NaN and Inf are refused by name."""

    def read(self) -> dict[str, Tensor]:
        """Read all tensors."""
        with safe_open(self.path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in list(file.keys())}

    def write(self, data: dict[str, Tensor], path: Path) -> None:
        """Write all tensors; each has a copy of its own in the file, also where two share their memory here."""
        try:
            assert_finite(data, str(self.path))
        except NonFiniteError as error:
            raise DatasetError(str(error)) from error
        first = {id(tensor): key for key, tensor in reversed(data.items())}
        whole = {
            key: tensor.contiguous() if first[id(tensor)] == key else tensor.clone()
            for key, tensor in data.items()
        }
        save_file(whole, path)
