"""Linear probe: can the forgotten class be read off frozen features by a linear map?

Shapes: N samples, D feature width, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def fit_probe(feature_ND: Tensor, label_N: Tensor, ridge: float = 1e-3) -> Tensor:
    """Ridge regression onto one-hot labels, every class with the same weight (linear probes: arXiv 1610.01644).

    With a column of ones appended to X, W = (X' S X + ridge * tr(X' S X) / (D + 1) * I)^-1 X' S Y, S the
    sample weights.

    Args:
        feature_ND: frozen features.
        label_N: class indices 0 .. C - 1, each at least once.
        ridge: as a share of the mean variance of a feature.

    Returns:
        [D + 1, C] weights, the last row the intercepts, for :func:`probe_logits`.

    Raises:
        ValueError: a class has no sample.
    """
    counts_C = torch.bincount(label_N)
    if (counts_C == 0).any():
        raise ValueError(f"the probe has no sample of class {int((counts_C == 0).nonzero()[0])}; give it one")
    x_ND = _with_ones(feature_ND)
    weighted_DN = x_ND.T / counts_C[label_N]
    gram_DD = weighted_DN @ x_ND
    damping = ridge * gram_DD.trace() / len(gram_DD)
    target_NC = functional.one_hot(label_N).double()
    weight_DC: Tensor = torch.linalg.solve(
        gram_DD + damping * torch.eye(len(gram_DD), device=gram_DD.device), weighted_DN @ target_NC
    )
    return weight_DC


def probe_logits(weight_DC: Tensor, feature_ND: Tensor) -> Tensor:
    """[N, C] answers of the probe."""
    return _with_ones(feature_ND) @ weight_DC


def _with_ones(feature_ND: Tensor) -> Tensor:
    one_N1 = torch.ones(len(feature_ND), 1, dtype=torch.float64, device=feature_ND.device)
    return torch.cat([feature_ND.double(), one_N1], dim=1)
