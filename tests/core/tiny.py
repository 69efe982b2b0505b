"""A two-head attention layer's worth of random parameters, and the components that cut it."""

import torch
from torch import Tensor

from razor_pipeline.core.components import Component, head_components, matrix_component

WIDTH, HEADS = 8, 2
SHAPES = {
    "q.weight": (WIDTH, WIDTH),
    "q.bias": (WIDTH,),
    "out.weight": (WIDTH, WIDTH),
    "fc.weight": (12, WIDTH),
    "fc.bias": (12,),
}


def tensors(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random tensors in the layer's shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}


def heads() -> list[Component]:
    """Both heads: rows of q, columns of out."""
    cut = {"rows": ["q.weight", "q.bias"], "columns": ["out.weight"]}
    return head_components("vision.0.attention", "vision", 0, HEADS, WIDTH, cut)


def matrix() -> Component:
    """The feed-forward matrix with its bias."""
    return matrix_component("vision.0.mlp.fc", "vision", 0, ["fc.weight", "fc.bias"])


def flat(component: Component, of: dict[str, Tensor]) -> Tensor:
    """The component's weights as one float64 vector."""
    return torch.cat([view.double().flatten() for view in component.views(of)])
