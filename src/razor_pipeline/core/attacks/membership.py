"""Membership inference: does the model give away that it was trained on an image? Several scores, the strongest counts.

Shapes: N images, C classes, M members (images the model was to forget), K non-members.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from razor_pipeline.core.metrics import Estimate, membership_auc


def membership_scores(logits_NC: Tensor, column: int) -> dict[str, Tensor]:
    """Scores of each image, higher for what looks like a member.

    ``similarity`` is the tie to the target's name, ``margin`` its lead over the best other name (Carlini et al., LiRA,
    arXiv 2112.03570, in logits), ``probability`` its log-probability (Yeom et al., arXiv 1709.01604), ``entropy`` the
    negative modified entropy for that name (Song & Mittal, arXiv 2003.10595, eq. 8), and ``confidence`` the highest
    log-probability among the other names, which needs no knowledge of the target.

    Args:
        logits_NC: logits of all classes, C >= 2, as cross-entropy takes them.
        column: of the target.

    Returns:
        Name of the score -> [N], float64.
    """
    logits_NC = logits_NC.double()  # the names that a model is sure of have probability 1 in float32
    log_p_NC = logits_NC.log_softmax(dim=1)
    own_N, log_p_N = logits_NC[:, column], log_p_NC[:, column]
    others_NC, p_NC = (
        torch.cat([one[:, :column], one[:, column + 1 :]], dim=1) for one in (logits_NC, log_p_NC.exp())
    )
    surprise_NC = p_NC * torch.log1p(-p_NC.clamp(max=1.0 - 1e-7))
    return {
        "similarity": own_N,
        "margin": own_N - others_NC.max(dim=1).values,
        "probability": log_p_N,
        "entropy": p_NC.sum(dim=1) * log_p_N + surprise_NC.sum(dim=1),
        "confidence": others_NC.log_softmax(dim=1).max(dim=1).values,
    }


def membership_aucs(member_MC: Tensor, nonmember_KC: Tensor, column: int) -> dict[str, Estimate]:
    """AUC of telling members from non-members by each score of :func:`membership_scores`."""
    members, nonmembers = (membership_scores(logits, column) for logits in (member_MC, nonmember_KC))
    return {name: membership_auc(_numbers(members[name]), _numbers(nonmembers[name])) for name in members}


def _numbers(score_N: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = score_N.cpu().numpy()
    return found


def strongest(found: Mapping[str, float], reference: Mapping[str, float] | None = None) -> str:
    """The score whose AUC lies furthest from the reference model's, or from 0.5 where there is none.

    An attacker has no reference model; that he is given the best of all scores is the worst case.
    """
    return max(found, key=lambda name: abs(found[name] - (reference[name] if reference else 0.5)))
