"""A latent diffusion pipeline of ``diffusers`` on disk: opened whole or refused, put together, saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import AutoencoderKL, DiffusionPipeline

from razor_pipeline.core.copies import in_dtype
from razor_pipeline.families.checkpoint import complete_part
from razor_pipeline.families.placement import Placed


class SavedPipeline(Placed, ABC):
    """A pipeline of one class in the diffusers layout.

    Args:
        pipeline: the pipeline.
        origin: where it came from, for the manifest of an edit: ``family``, ``id``, ``revision``, ``sha256``.

    Attributes:
        pipeline_class: its class in diffusers.
        encoders: name of each text encoder in it -> the tower that begins its components' names.
        denoiser: name of its U-Net or transformer.
        unused: parts that it is opened and saved without.
        kinds: what the configuration of a checkpoint that it opens calls the model.
        parts: files that a directory must hold beside its weights, ``|`` between those of which one will do.
        stored_dtype: that it is saved in.
    """

    kinds: ClassVar[tuple[str, ...]]
    # Without either file, transformers makes a tokenizer that knows no word, and all prompts are one.
    parts: ClassVar[tuple[str, ...]] = ("model_index.json", "tokenizer/tokenizer.json|tokenizer/vocab.json")
    pipeline_class: ClassVar[type[DiffusionPipeline]]
    encoders: ClassVar[Mapping[str, str]]
    denoiser: ClassVar[str]
    unused: ClassVar[tuple[str, ...]] = ()
    pipeline: Any
    stored_dtype: torch.dtype

    @abstractmethod
    def __init__(self, pipeline: Any, origin: Mapping[str, str | None] | None = None) -> None: ...

    @classmethod
    def from_pretrained(cls, source: str, revision: str | None = None) -> Self:
        """Load a directory in the diffusers layout, or a hub id at a pinned revision; safetensors only.

        Raises:
            ValueError: it is a pipeline of another kind, lacks a part, or can't be examined or trained on; see
                :meth:`refuse`; said before weights are loaded. Or a part lacks weights, or has some that the dtype of
                all that is saved would round.
        """
        index = cls._index(source, revision)
        cls.refuse(index, source, revision)
        named = [name for name, kind in index.items() if isinstance(kind, list) and kind[0]]
        parts = [Path(source) / name for name in named if name not in cls.unused]
        if missing := [part.name for part in parts if Path(source).is_dir() and not part.is_dir()]:
            raise ValueError(
                f"it lacks {', '.join(missing)}, which its model_index.json names; copy the whole directory"
            )
        unused: dict[str, Any] = {name: None for name in cls.unused if name in index}
        # Opened here, since diffusers draws the weights that a text encoder lacks at random.
        whole = {name: complete_part(index[name], name, source, revision) for name in cls._stored_parts()}
        pipeline = cls.pipeline_class.from_pretrained(source, revision=revision, **whole, **unused)
        family = cls(pipeline, {"id": source, "revision": revision})
        family._refuse_rounding()
        return family

    @classmethod
    def drawn_size(cls, source: str, revision: str | None) -> int | None:
        """Height and width in pixels of what a saved pipeline draws, from its configurations alone: see :attr:`size`.

        Args:
            source: a directory in the diffusers layout, or a hub id.
            revision: commit of the hub id.

        Returns:
            None where they leave it to the classes' defaults.

        Raises:
            ValueError: it is a pipeline of another kind.
            OSError: a configuration is missing.
        """
        cls._index(source, revision)
        # An autoencoder's method, but it reads the config.json of any part.
        denoiser, vae = (
            AutoencoderKL.load_config(source, revision=revision, subfolder=part)
            for part in (cls.denoiser, "vae")
        )
        size, channels = denoiser.get("sample_size"), vae.get("block_out_channels")
        # diffusers' own rule: every level of the autoencoder but the last halves the image
        return size * 2 ** (len(channels) - 1) if isinstance(size, int) and channels else None

    @classmethod
    def _index(cls, source: str, revision: str | None) -> dict[str, Any]:
        index: dict[str, Any] = cls.pipeline_class.load_config(source, revision=revision)
        kind = index.get("_class_name")
        if kind not in cls.kinds:
            raise ValueError(f"its model_index.json says {kind}, not {' or '.join(cls.kinds)}")
        return index

    @classmethod
    def _stored_parts(cls) -> tuple[str, ...]:
        """Names of the parts that hold weights."""
        return (*cls.encoders, cls.denoiser, "vae")

    def _refuse_rounding(self) -> None:
        stored = self.stored_dtype
        for part in self._stored_parts():
            for weight in getattr(self.pipeline, part).parameters():
                if not torch.equal(weight.to(stored).to(weight.dtype), weight):
                    raise ValueError(
                        f"the weights of its {part.replace('_', ' ')} need {weight.dtype} and the model would be "
                        f"written in {stored}, which rounds them; save all its parts in one dtype first"
                    )

    @classmethod
    @abstractmethod
    def refuse(cls, index: Mapping[str, Any], source: str, revision: str | None) -> None:
        """Raise where a pipeline of this class can't be worked with, from its configuration alone.

        Raises:
            ValueError: says what is wrong with it.
        """

    def assembled(self, parts: Mapping[str, Any]) -> Any:
        """A pipeline of these parts, by name."""
        return self.pipeline_class(**parts)

    def save_pretrained(self, path: Path) -> None:
        """Write the pipeline so that its class's ``from_pretrained`` opens it."""
        narrow = {
            name: in_dtype(getattr(self.pipeline, name), self.stored_dtype) for name in self._stored_parts()
        }
        self.assembled({**self.pipeline.components, **narrow}).save_pretrained(path)
