"""SalUn's weight saliency (arXiv 2310.12508): the weights that the forget loss moves most."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def saliency_mask(gradients: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Which weights may change: those with the largest ``|g_f|`` over all tensors together.

    Args:
        gradients: name -> gradient of the forget loss.
        share: of all weights, above 0 and at most 1; ties at the threshold all count as salient.

    Returns:
        name -> boolean mask, shaped like the gradient.
    """
    magnitudes = torch.cat([gradient.abs().flatten() for gradient in gradients.values()])
    kept = max(1, round(share * len(magnitudes)))
    threshold = magnitudes.kthvalue(len(magnitudes) - kept + 1).values
    return {name: gradient.abs() >= threshold for name, gradient in gradients.items()}
