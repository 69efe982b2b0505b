"""The transformer layers of CLIP's towers as components; Stable Diffusion's text encoders have the same."""

from __future__ import annotations

from razor_pipeline.core.components import Component, Granularity, head_components, matrix_component


def attention(
    root: str, tower: str, layer: int, heads: int, granularity: Granularity, width: int
) -> list[Component]:
    """The self-attention of one layer: its four matrices, or its heads.

    Args:
        root: name of the layer's module.
        tower: the sub-model, which begins the components' names.
        layer: index of the layer.
        heads: number of heads.
        granularity: ``matrix``, or heads otherwise.
        width: of the tower.
    """
    module = f"{root}.self_attn"
    if granularity == "matrix":
        return [
            matrix_component(
                f"{tower}.{layer}.attention.{role}",
                tower,
                layer,
                [f"{module}.{role}_proj.weight", f"{module}.{role}_proj.bias"],
            )
            for role in ("q", "k", "v", "out")
        ]
    rows = [f"{module}.{role}_proj.{kind}" for role in "qkv" for kind in ("weight", "bias")]
    parts = {"rows": rows, "columns": [f"{module}.out_proj.weight"]}
    return head_components(f"{tower}.{layer}.attention", tower, layer, heads, width, parts)


def mlp(root: str, tower: str, layer: int) -> list[Component]:
    """The two matrices of one layer's feed-forward."""
    return [
        matrix_component(
            f"{tower}.{layer}.mlp.{name}",
            tower,
            layer,
            [f"{root}.mlp.{name}.weight", f"{root}.mlp.{name}.bias"],
        )
        for name in ("fc1", "fc2")
    ]
