"""The components of a LLaVA: layers of its vision tower, its projector, layers of its language model."""

from __future__ import annotations

from typing import Any

from razor_pipeline.core.components import Component, Granularity, head_components, matrix_component
from razor_pipeline.families.blocks import attention, layers_of, mlp


def vlm_components(module: Any, granularity: Granularity) -> tuple[Component, ...]:
    """Heads and matrices of vision tower, projector and language model; embeddings, norms and output stay out.

    Vision layers behind the one whose states the projector reads do nothing, and are no components.
    """
    vision, text = module.config.vision_config, module.config.text_config
    prefix = layers_of(module.model.vision_tower)
    parts: list[Component] = []
    for layer in range(_layers_read(module.config)):
        root = f"model.vision_tower.{prefix}.{layer}"
        parts += attention(root, "vision", layer, vision.num_attention_heads, granularity, vision.hidden_size)
        parts += [] if granularity == "head" else mlp(root, "vision", layer)
    if granularity != "head":
        parts += _projector(module)
    for layer in range(text.num_hidden_layers):
        parts += _language_layer(layer, granularity, text)
    return tuple(parts)


def _projector(module: Any) -> list[Component]:
    root, names = "model.multi_modal_projector", dict(module.named_parameters())
    return [
        matrix_component(
            f"projector.{part}",
            "projector",
            layer,
            [name for kind in ("weight", "bias") if (name := f"{root}.{part}.{kind}") in names],
        )
        for layer, part in enumerate(("linear_1", "linear_2"))
    ]


def _language_layer(layer: int, granularity: Granularity, text: Any) -> list[Component]:
    root, name = f"model.language_model.layers.{layer}", f"language.{layer}"
    roles = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "o_proj"}
    if granularity == "matrix":
        parts = [
            matrix_component(f"{name}.attention.{role}", "language", layer, [f"{root}.self_attn.{m}.weight"])
            for role, m in roles.items()
        ]
    else:
        parts = _query_groups(root, name, layer, text)
    if granularity != "head":
        parts += [
            matrix_component(f"{name}.mlp.{part}", "language", layer, [f"{root}.mlp.{part}_proj.weight"])
            for part in ("gate", "up", "down")
        ]
    return parts


def _layers_read(config: Any) -> int:
    """Number of vision layers that the projector's input depends on."""
    layers, read = config.vision_config.num_hidden_layers, config.vision_feature_layer
    several: list[int] = read if isinstance(read, list) else [read]
    return max(one if one >= 0 else layers + 1 + one for one in several)


def _query_groups(root: str, name: str, layer: int, text: Any) -> list[Component]:
    """The attention heads of a language layer; heads that share keys and values are one component."""
    groups = text.num_key_value_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    wide, narrow = text.num_attention_heads * size, groups * size
    own = {"rows": [f"{root}.self_attn.q_proj.weight"], "columns": [f"{root}.self_attn.o_proj.weight"]}
    shared = {"rows": [f"{root}.self_attn.{m}_proj.weight" for m in "kv"], "columns": []}
    pairs = zip(
        head_components(f"{name}.attention", "language", layer, groups, wide, own),
        head_components(f"{name}.attention", "language", layer, groups, narrow, shared),
        strict=True,
    )
    return [Component(a.name, a.kind, a.tower, a.layer, a.slices + b.slices) for a, b in pairs]
