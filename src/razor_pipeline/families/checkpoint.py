"""Opening a checkpoint with nothing in it left to chance."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from transformers import AutoConfig


def complete(kind: Any, family: str, source: str, revision: str | None) -> Any:
    """A model of class ``kind`` with all of its weights; safetensors only, no remote code.

    Args:
        kind: a transformers model class.
        family: the ``model_type`` that its config must have.
        source: a directory in the Hugging Face layout, or a hub id.
        revision: commit of the hub id.

    Raises:
        ValueError: it is a model of another kind, or lacks weights, which transformers would draw at random, or
            has some of other shapes than its configuration says.
    """
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    if config.model_type != family:
        raise ValueError(f"its config.json says model_type '{config.model_type}', not '{family}'")
    return _loaded(kind, "its", source, revision)


def complete_part(kind: tuple[str, str], part: str, source: str, revision: str | None) -> Any:
    """A part of a diffusers pipeline with all of its weights.

    Args:
        kind: library and class as ``model_index.json`` names them.
        part: name of the part, and of its folder.
        source: directory or hub id of the pipeline.
        revision: commit of the hub id.

    Raises:
        ValueError: it lacks weights, or has some of other shapes than its configuration says.
    """
    library, name = kind
    whose = f"the {part.replace('_', ' ')}'s"
    return _loaded(getattr(import_module(library), name), whose, source, revision, subfolder=part)


def _loaded(kind: Any, whose: str, source: str, revision: str | None, **where: str) -> Any:
    model, found = kind.from_pretrained(
        source,
        revision=str(revision or "main"),
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # refused below, by name
        **where,
    )
    if found["mismatched_keys"]:
        name, stored, wanted = next(iter(found["mismatched_keys"]))
        raise ValueError(
            f"{whose} weight {name} has the shape {list(stored)} and its config.json asks for {list(wanted)}; take "
            "both from one checkpoint"
        )
    if found["missing_keys"]:
        missing = ", ".join(sorted(found["missing_keys"])[:3])
        raise ValueError(f"{whose} weights lack {missing}; copy them again")
    return model
