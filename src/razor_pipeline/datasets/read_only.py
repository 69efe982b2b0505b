"""What every dataset shares that is made elsewhere."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from kedro.io import AbstractDataset, DatasetError

T = TypeVar("T")


class ReadOnlyDataset(AbstractDataset[T, Any], Generic[T]):
    """Something that no step saves.

    Attributes:
        refusal: what is told of an attempt: what is read only, and what to do instead.
    """

    refusal: ClassVar[str]

    def save(self, data: Any) -> None:
        """Refused.

        Raises:
            DatasetError: always.
        """
        raise DatasetError(f"{self.refusal} ({type(data).__name__} was not saved)")
