"""Pretrained models: a directory in the Hugging Face layout, or a hub id at a pinned revision."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from safetensors import SafetensorError, safe_open

from razor_pipeline.datasets.atomic import replace_directory
from razor_pipeline.datasets.read_only import ReadOnlyDataset
from razor_pipeline.families import FAMILIES, Autoencoder
from razor_pipeline.families.placement import device_named
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.fingerprint import content_sha256, digest
from razor_pipeline.interfaces import ModelFamily

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
WEIGHTS = "*.safetensors"
ZOO = Path("data/01_raw/zoo")  # models that the project trained, in the repository
KINDS: dict[str, Any] = {**FAMILIES, Autoencoder.name: Autoencoder}  # what is saved and opened alike


class PretrainedDataset(AbstractDataset[ModelFamily, ModelFamily]):
    """A model of one family with its tokenizer and processor. Safetensors only; remote code never runs.

    Args:
        family: name of the family, a key of ``razor_pipeline.families.FAMILIES``.
        source: a local directory, or a hub id.
        revision: commit of the hub id, 40 hex digits; says nothing of a directory.
        device: where it computes (:func:`razor_pipeline.families.placement.device_named`).
        metadata: ignored by Kedro, read by kedro-viz (its layer).

    Raises:
        DatasetError: the family is unknown, or there is no such device here.
    """

    def __init__(
        self,
        *,
        family: str,
        source: str,
        revision: str | None = None,
        device: str = "auto",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if family not in KINDS:
            raise DatasetError(f"model.family is '{family}'; it must be one of {', '.join(KINDS)}")
        self.family, self.source, self.revision, self.metadata = family, source, revision, metadata
        try:
            self.device = device_named(device)
        except ValueError as error:
            raise DatasetError(str(error)) from error

    @property
    def path(self) -> Path | None:
        """The directory; None where the model is fetched from a hub, at a revision that says what it holds."""
        directory = Path(self.source)
        return directory if self.revision is None or directory.is_dir() else None

    def load(self) -> ModelFamily:
        """Load the model.

        Raises:
            DatasetError: nothing is there, a part is missing, it is of another family, or a hub id
                is not pinned.
        """
        self.check()
        directory = Path(self.source)
        try:
            with _no_bars():
                model: ModelFamily = KINDS[self.family].from_pretrained(self.source, self.revision)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            # A family's own refusal says what it is, and comes before weights are read.
            damage = None if isinstance(error, ValueError) else _damage(directory)
            raise DatasetError(
                f"the model '{self.source}' does not open as {self.family}: {damage or error}"
            ) from error
        model.move_to(self.device)
        model.origin = {
            "family": self.family,
            "id": self.source,
            "revision": None if directory.is_dir() else self.revision,
            "sha256": self._weights_sha256(directory),
        }
        return model

    def check(self) -> None:
        """Refuse what can be seen not to open without reading weights or asking a hub.

        Raises:
            DatasetError: nothing is there, a part is missing, it is of another family, or a hub id is not pinned.
        """
        directory = Path(self.source)
        if directory.is_dir():
            self._check(directory)
        elif not _on_hub(self.source):
            raise DatasetError(
                f"model.source '{self.source}' does not exist; give a model directory or a hub id, "
                "or train one with `kedro run --pipelines dataset_preparation,pretraining` and the same --env"
            )
        elif not COMMIT.fullmatch(self.revision or ""):
            raise DatasetError(
                f"model.source '{self.source}' is a hub id and model.revision is '{self.revision}'; "
                "pin it to a commit of 40 hex digits, so that a run can be repeated"
            )

    def _check(self, directory: Path) -> None:
        kind = _kind(directory)
        if kind and kind not in KINDS[self.family].kinds:
            fitting = [name for name, family in KINDS.items() if kind in family.kinds]
            told = f"the model '{directory}' does not open as {self.family}: its configuration says '{kind}'"
            raise DatasetError(
                f"{told}, which is of the family {' or '.join(fitting)}; name another model, or an environment (--env) "
                "of that family"
                if fitting
                else f"{told}, and no family of this project is made for it ({', '.join(FAMILIES)})"
            )
        if not weight_files(directory):
            raise DatasetError(
                f"{directory} holds no safetensors file; pickled weights are refused, convert them with "
                "save_pretrained(..., safe_serialization=True)"
            )
        missing = [
            name.replace("|", " or ")
            for name in KINDS[self.family].parts
            if not any((directory / one).is_file() for one in name.split("|"))
        ]
        if missing:
            raise DatasetError(
                f"{directory} lacks {', '.join(missing)}; copy the whole directory of the checkpoint"
            )

    def _weights_sha256(self, directory: Path) -> str | None:
        files = weight_files(directory)
        named = [(str(file.relative_to(directory)), content_sha256(file)) for file in files]
        return digest(named) if files else None

    def check_takes(self, trained: str, on: str | None = None) -> None:
        """Refuse what a training must not write over; said before it begins.

        Args:
            trained: the family that is trained.
            on: where its images are read from; None where the project makes them.

        Raises:
            DatasetError: what is opened from here is of another family, comes from a hub, was not trained here, or is
                of the zoo, whose models are trained on what the project makes.
        """
        if not issubclass(KINDS[self.family], KINDS[trained]):
            raise DatasetError(
                f"pretraining.family is '{trained}', but model.source '{self.source}', which it would be written over, "
                f"is of the family '{self.family}'; choose an environment that trains it, or set pretraining.family"
            )
        if self.revision is not None and _on_hub(self.source):
            raise DatasetError(
                f"model.source '{self.source}' is a hub id, and what is trained here needs a directory; name one: "
                '--params "model=/path/to/directory"'
            )
        directory, report = Path(self.source), Path(f"{self.source}.json")
        if on is not None and directory.parent.resolve() == ZOO.resolve():
            raise DatasetError(
                f"model.source '{self.source}' is of the zoo, and a training on '{on}' would be written over it; name "
                'a new directory: --params "model=/path/to/directory"'
            )
        if directory.is_dir() and any(directory.iterdir()) and not report.is_file():
            raise DatasetError(
                f"model.source '{self.source}' would be written over, and was not trained here: there is no {report}; "
                "name a new directory, or remove this one first"
            )

    def save(self, data: ModelFamily) -> None:
        """Replace the directory; the old one stays until the new one is complete on disk."""
        with _no_bars(), replace_directory(Path(self.source)) as beside:
            data.save_pretrained(beside)
            if data.card:
                (beside / "README.md").write_text(data.card, encoding="utf-8")

    def _exists(self) -> bool:
        return Path(self.source).is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"family": self.family, "source": self.source, "revision": self.revision}


class DrawnSizeDataset(ReadOnlyDataset[int | None]):
    """Height and width in pixels of what a model draws, from its configurations: no weight is read.

    Args:
        family: name of the model's family.
        source: its directory, or hub id.
        revision: commit of the hub id.
        metadata: ignored by Kedro, read by kedro-viz (its layer).
    """

    refusal = "the size that a model draws is read only; save the model"

    def __init__(
        self,
        *,
        family: str,
        source: str,
        revision: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.family, self.source, self.revision, self.metadata = family, source, revision, metadata
        self.kind: Any = KINDS.get(family)

    @property
    def paths(self) -> list[Path] | None:
        """The configurations; None where they are fetched from a hub."""
        directory = Path(self.source)
        if not self._draws or (self.revision is not None and not directory.is_dir()):
            return None
        files = ("model_index.json", f"{self.kind.denoiser}/config.json", "vae/config.json")
        return [directory / name for name in files]

    @property
    def _draws(self) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, TextToImageFamily)

    def load(self) -> int | None:
        """The size; None where the model draws nothing, or cannot be found: what opens it says why.

        Raises:
            DatasetError: a configuration is missing, or of another family.
        """
        pinned = _on_hub(self.source) and COMMIT.fullmatch(self.revision or "")
        if not self._draws or not (Path(self.source).is_dir() or pinned):
            return None
        try:
            with _no_bars():
                size: int | None = self.kind.drawn_size(self.source, self.revision)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"the model '{self.source}' does not open as {self.family}: {error}"
            ) from error
        return size

    def _describe(self) -> dict[str, Any]:
        return {"family": self.family, "source": self.source, "revision": self.revision}


class JudgesDataset(ReadOnlyDataset[dict[str, ModelFamily]]):
    """Classifiers by name. There are none where the model draws nothing.

    Args:
        sources: name -> directory of a ViT classifier.
        device: where they compute.
        metadata: ignored by Kedro, read by kedro-viz (its layer).
    """

    refusal = "judges are read only; train a classifier with the pretraining pipeline and --env vit"

    def __init__(
        self, *, sources: dict[str, str], device: str = "auto", metadata: dict[str, Any] | None = None
    ) -> None:
        self.sources, self.device, self.metadata = dict(sources), device, metadata
        self.paths = [Path(source) for source in self.sources.values()]

    def load(self) -> dict[str, ModelFamily]:
        """Every judge.

        Raises:
            DatasetError: one does not open; see :class:`PretrainedDataset`.
        """
        return {
            name: PretrainedDataset(family="vit", source=source, device=self.device).load()
            for name, source in self.sources.items()
        }

    def _describe(self) -> dict[str, Any]:
        return {"sources": self.sources}


def weight_files(directory: Path) -> list[Path]:
    """A model directory's files of weights, and those of its parts where it is a pipeline."""
    return sorted([*directory.glob(WEIGHTS), *directory.glob(f"*/{WEIGHTS}")])


def _kind(directory: Path) -> str | None:
    """What a checkpoint's configuration calls its model; None where it says nothing."""
    for name in ("model_index.json", "config.json"):
        try:
            told = json.loads((directory / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # whoever opens it says what is wrong with it
            continue
        kind: str | None = told.get("model_type", told.get("_class_name"))
        return kind
    return None


def _damage(directory: Path) -> str | None:
    """The first file of weights that is no whole safetensors file, with the fix; safetensors says neither."""
    for file in weight_files(directory):
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            return f"{file} is cut off, damaged or a pointer of Git LFS ({error}); copy or fetch it again"
    return None


def _on_hub(source: str) -> bool:
    """Whether a source reads as a hub id, and neither it nor the folder that it would lie in is here."""
    return bool(HUB_ID.fullmatch(source)) and not Path(source).parent.is_dir()


@contextmanager
def _no_bars() -> Iterator[None]:
    """A bar per file of weights tells a person nothing about the run."""
    import diffusers.utils.logging
    import transformers.utils.logging

    loud = [
        library
        for library in (transformers.utils.logging, diffusers.utils.logging)
        if library.is_progress_bar_enabled()
    ]
    for library in loud:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in loud:
            library.enable_progress_bar()
