"""Losses of the unlearning objective: tensors in, scalar out.

Sign convention: a loss is what the model minimises on that data. The forget loss is LOW while the model
remembers; the edit ascends it and descends the other two.

Shapes: B batch, C classes, D embedding width.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
from torch import Tensor
from torch.nn import functional


def symmetric_info_nce(image_BD: Tensor, text_BD: Tensor, scale: Tensor, alike_BB: Tensor) -> Tensor:
    """Symmetric InfoNCE (CLIP, arXiv 2103.00020, figure 3), without false negatives.

    Args:
        image_BD: unit image embeddings, shape [B, D].
        text_BD: unit text embeddings of the paired captions, shape [B, D].
        scale: the logit scale (already exponentiated), a scalar.
        alike_BB: whether two pairs show or say the same, so that neither is the other's negative. Captions are
            never overwritten to get there: the diagonal stays the only positive.

    Returns:
        The mean loss over both directions, a scalar.
    """
    logits_BB = scale * image_BD @ text_BD.T
    own_BB = torch.eye(len(logits_BB), dtype=torch.bool, device=logits_BB.device)
    logits_BB = logits_BB.masked_fill(alike_BB & ~own_BB, torch.finfo(logits_BB.dtype).min)
    target_B = torch.arange(len(logits_BB), device=logits_BB.device)
    return 0.5 * (
        functional.cross_entropy(logits_BB, target_B) + functional.cross_entropy(logits_BB.T, target_B)
    )


def misalignment(knowledge_B: Tensor) -> Tensor:
    """The forget loss ``mean(1 - cos(image, text))``: low while the model ties images to captions."""
    return (1.0 - knowledge_B).mean()


def similarity_drift(similarity_B: Tensor, frozen_B: Tensor) -> Tensor:
    """The mismatch loss: mean squared drift of the pairs' similarities from the frozen model's."""
    return (similarity_B - frozen_B).square().mean()


def log_odds(logits_BC: Tensor, class_B: Tensor) -> Tensor:
    """``log p / (1 - p)`` of each sample's class under a softmax: its logit over the log-sum-exp of the others.

    Args:
        logits_BC: of C >= 2 classes.
        class_B: index of the class that is asked about.

    Returns:
        [B] log-odds; finite where p rounds to 1.
    """
    own_B1 = class_B[:, None]
    others_B = logits_BC.scatter(1, own_B1, -torch.inf).logsumexp(dim=1)
    return logits_BC.gather(1, own_B1)[:, 0] - others_B


def as_log_odds(log_p_M: Tensor) -> Tensor:
    """[M] the same of log-probabilities; what is nearer to 0 than -1e-6 counts as -1e-6, so that it is finite."""
    below_M = log_p_M.clamp(max=-1e-6)
    return below_M - (-torch.expm1(below_M)).log()


def shifted_to_auc(reference_M: Tensor, auc: float) -> Tensor:
    """The never-seen samples' knowledge, moved so that samples spread like it are told from it by this AUC.

    Two normal distributions of one standard deviation s whose means lie ``-s sqrt(2) Phi^-1(auc)`` apart have
    that AUC (Green & Swets, Signal Detection Theory, 1966).

    Args:
        reference_M: knowledge of M >= 2 never-seen samples.
        auc: above 0 and below 1; 0.5 moves nothing.
    """
    return reference_M + reference_M.std() * math.sqrt(2.0) * NormalDist().inv_cdf(auc)


def calibration(knowledge_N: Tensor, reference_M: Tensor, most_N: Tensor | None = None) -> Tensor:
    """Squared 2-Wasserstein distance of the knowledge of the target's samples to that of never-seen ones.

    Matching the whole distribution, not its mean, is what keeps membership inference near chance: each of
    the target's samples is drawn to the reference's quantile of its own rank.

    Args:
        knowledge_N: knowledge of N forget samples (differentiable).
        reference_M: knowledge of M never-seen samples at the same weights; detached here, so that the
            reference is where it is and only the target moves.
        most_N: what each forget sample is led to at most, whatever the quantile of its rank; None for no bound.
    """
    n, m = len(knowledge_N), len(reference_M)
    (ranked_N, order_N), ranked_M = knowledge_N.sort(), reference_M.detach().sort().values
    # Both step functions on the grid of their jumps, in whole units of 1 / (n m): exact for any n and m.
    both = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique().to(ranked_N.device)
    width = torch.diff(both, prepend=both.new_zeros(1)) / (n * m)
    own, aim = (both - 1) // m, ranked_M[(both - 1) // n]
    if most_N is not None:
        aim = aim.minimum(most_N.detach()[order_N][own])
    return (width * (ranked_N[own] - aim).square()).sum()
