"""Opening a checkpoint with nothing in it left to chance."""

from __future__ import annotations

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
        ValueError: it is a model of another kind, or lacks weights, which transformers would draw at random.
    """
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    if config.model_type != family:
        raise ValueError(f"its config.json says model_type '{config.model_type}', not '{family}'")
    model, found = kind.from_pretrained(
        source, revision=str(revision or "main"), use_safetensors=True, output_loading_info=True
    )
    if found["missing_keys"]:
        raise ValueError(f"its weights lack {', '.join(sorted(found['missing_keys'])[:3])}; copy them again")
    return model
