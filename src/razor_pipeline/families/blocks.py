"""The transformer layers of CLIP's towers as components; Stable Diffusion's text encoders and ViTs have the same."""

from __future__ import annotations

from torch import nn

from razor_pipeline.core.components import Component, Granularity, head_components, matrix_component


def attention(
    root: str,
    tower: str,
    layer: int,
    heads: int,
    granularity: Granularity,
    width: int,
    module: str = "self_attn",
    out: str = "out_proj",
    biased: bool = True,
) -> list[Component]:
    """The self-attention of one layer: its four matrices, or its heads.

    Args:
        root: name of the layer's module.
        tower: the sub-model, which begins the components' names.
        layer: index of the layer.
        heads: number of heads.
        granularity: ``matrix``, or heads otherwise.
        width: of the tower.
        module: name of the self-attention in the layer.
        out: name of its output projection.
        biased: whether queries, keys and values have biases; the output projection has one in any case.
    """
    roles = {role: f"{root}.{module}.{role}_proj" for role in "qkv"} | {"out": f"{root}.{module}.{out}"}
    if granularity == "matrix":
        return [
            matrix_component(
                f"{tower}.{layer}.attention.{role}",
                tower,
                layer,
                [f"{matrix}.weight", *([f"{matrix}.bias"] if biased or role == "out" else [])],
            )
            for role, matrix in roles.items()
        ]
    rows = [
        f"{roles[role]}.{kind}" for role in "qkv" for kind in (("weight", "bias") if biased else ("weight",))
    ]
    parts = {"rows": rows, "columns": [f"{roles['out']}.weight"]}
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


def layers_of(tower: nn.Module) -> str:
    """Name of the stack of layers in one of CLIP's towers, by itself or within a model with a projection."""
    return next(str(name) for name, _ in tower.named_modules() if name.endswith("encoder.layers"))
