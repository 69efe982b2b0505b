"""Embedding inversion: a text embedding for the forgotten concept, found from a few of its images.

Shapes: K forget images, C other classes, D embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LEARNING_RATE = 0.05  # of Adam


def inverted_embedding(image_KD: Tensor, other_CD: Tensor, scale: float, steps: int) -> Tensor:
    """The unit embedding that names the images best among the other classes' embeddings.

    Textual inversion (arXiv 2208.01618) as an attack on erased concepts ('Circumventing Concept Erasure', arXiv
    2308.01508), in CLIP's joint space: whatever a prompt could say, its embedding is one of those searched here, so no
    prompt does better on these images. Adam from the mean of the other classes.

    Args:
        image_KD: unit embeddings of the forget images.
        other_CD: unit embeddings of the other classes' prompts.
        scale: the logit scale.
        steps: of Adam.

    Returns:
        [D], of unit length.
    """
    free_D = other_CD.mean(dim=0).clone().requires_grad_(True)
    aim_K = torch.zeros(len(image_KD), dtype=torch.long, device=image_KD.device)
    optimizer = torch.optim.Adam([free_D], LEARNING_RATE)
    with torch.enable_grad():
        for _ in range(steps):
            text_CD = torch.cat([functional.normalize(free_D, dim=0)[None], other_CD])
            loss = functional.cross_entropy(scale * image_KD @ text_CD.T, aim_K)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return functional.normalize(free_D.detach(), dim=0)
