"""Metrics: arrays in, named floats with confidence intervals out.

Shapes: N samples, C classes, M members, K non-members.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Z95 = 1.959963984540054
ROUNDING = 1e-9  # a drop computed as 0.99 - 0.98 must still count as 0.01


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval and the number of samples behind it."""

    value: float
    low: float
    high: float
    n: int


def share(hits: NDArray[np.bool_]) -> Estimate:
    """Share of hits with its Wilson interval (Wilson 1927).

    Raises:
        ValueError: there is no sample.
    """
    n = len(hits)
    if n == 0:
        raise ValueError("a share needs at least one sample; got none")
    p = float(np.mean(hits))
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return Estimate(p, max(0.0, min(centre - half, p)), min(1.0, max(centre + half, p)), n)


def worst(shares: Sequence[Estimate]) -> Estimate:
    """The largest of several shares that are to be 0; of equal ones the first."""
    return max(shares, key=lambda estimate: estimate.value)


def most_lost(
    before_N: NDArray[np.bool_], after_N: NDArray[np.bool_], class_N: Sequence[str]
) -> tuple[str, Estimate]:
    """The class that loses most, and the share of its samples that were right before and are not any more.

    It is the one whose interval begins highest: of two samples one is lost by chance, of twenty ten are not.
    """
    lost_N, own_N = before_N & ~after_N, np.asarray(class_N)
    shares = {str(name): share(lost_N[own_N == name]) for name in np.unique(own_N)}
    return max(shares.items(), key=lambda found: (found[1].low, found[1].value))


def bootstrap(statistic: Callable[[Ints], float], n: int, resamples: int = 1000) -> Estimate:
    """Percentile bootstrap interval of a statistic over ``n`` samples (Efron 1979).

    Args:
        statistic: takes sample indices (with repeats), returns a float; NaN resamples are left out.
        n: number of samples.
        resamples: number of resamples.
    """
    rng = np.random.default_rng(0)
    value = statistic(np.arange(n))
    draws = np.array([statistic(rng.integers(0, n, n)) for _ in range(resamples)])
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Estimate(value, float(low), float(high), n)


def jackknife(statistic: Callable[[Ints], float], n: int, groups: int = 10) -> Estimate:
    """Delete-a-group jackknife interval (Quenouille 1956), Student's t at ``groups - 1`` degrees of freedom.

    For statistics that repeats of a sample would bias, and for few samples: a percentile bootstrap of eight covers
    their mean 87 times in 100. With as many groups as samples, that of a mean is its t interval.

    Args:
        statistic: takes sample indices, returns a float.
        n: number of samples, at least 2.
        groups: that are left out in turn; every ``groups``-th sample is in one.
    """
    everything = np.arange(n)
    value = statistic(everything)
    groups = min(groups, n)
    parts = np.array([statistic(everything[everything % groups != group]) for group in range(groups)])
    error = math.sqrt((groups - 1) / groups * float(np.square(parts - parts.mean()).sum()))
    half = float(stdtrit(groups - 1, 0.975)) * error
    return Estimate(value, value - half, value + half, n)


def frechet_distance(first_ND: Floats, second_MD: Floats) -> float:
    """Fréchet distance of two normal distributions fitted to features (Heusel et al. 2017, arXiv 1706.08500, eq. 6).

    With Inception-v3's features this is FID; with those of another network it is a figure of that network alone.
    """
    means, factors = [], []  # a covariance is R^T R
    for features in (np.asarray(first_ND, dtype=float), np.asarray(second_MD, dtype=float)):
        means.append(features.mean(axis=0))
        factors.append(np.linalg.qr(features - means[-1], mode="r") / np.sqrt(len(features) - 1))
    # The trace of the root of the covariances' product is the sum of these singular values.
    shared = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    spread = sum(np.square(factor).sum() for factor in factors)
    apart = np.square(means[0] - means[1]).sum()
    return max(0.0, float(apart + spread - 2.0 * shared))  # not negative but by rounding


def top_k_hits(scores_NC: Floats, label_N: Ints, k: int = 1) -> NDArray[np.bool_]:
    """Whether each sample's own class is among its ``k`` highest scores, over ALL classes."""
    top_NK = np.argpartition(-scores_NC, min(k, scores_NC.shape[1]) - 1, axis=1)[:, :k]
    hits: NDArray[np.bool_] = (top_NK == np.asarray(label_N)[:, None]).any(axis=1)
    return hits


def macro_accuracy(scores_NC: Floats, label_N: Ints) -> Estimate:
    """Mean over classes of the per-class accuracy, bootstrap interval over samples."""
    return macro_share(top_k_hits(scores_NC, label_N), label_N)


def macro_share(hits_N: NDArray[np.bool_], label_N: Ints) -> Estimate:
    """Mean over classes of each class's share of hits, bootstrap interval over samples."""
    hits, labels = np.asarray(hits_N, dtype=float), np.asarray(label_N)

    def macro(index: Ints) -> float:
        counts = np.bincount(labels[index])
        sums = np.bincount(labels[index], weights=hits[index])
        seen = counts > 0
        return float((sums[seen] / counts[seen]).mean())

    return bootstrap(macro, len(labels))


def auc(members_M: Floats, nonmembers_K: Floats) -> float:
    """Probability that a random member scores above a random non-member; ties count one half."""
    return float(_wins(members_M, nonmembers_K).mean())


def _wins(members_M: Floats, nonmembers_K: Floats) -> Floats:
    above: Floats = (members_M[:, None] > nonmembers_K[None, :]) + 0.5 * (
        members_M[:, None] == nonmembers_K[None, :]
    )
    return above


def membership_auc(members_M: Floats, nonmembers_K: Floats, resamples: int = 1000, seed: int = 0) -> Estimate:
    """AUC of telling members from non-members by score.

    0.5 is chance, 1 a perfect attack; far below 0.5 leaks too. The interval is a bootstrap over members and
    non-members apart (two samples); ties count one half.
    """
    wins_MK = _wins(members_M, nonmembers_K)
    m, k = wins_MK.shape
    rng = np.random.default_rng(seed)
    draws = [
        np.bincount(rng.integers(0, m, m), minlength=m)
        @ wins_MK
        @ np.bincount(rng.integers(0, k, k), minlength=k)
        for _ in range(resamples)
    ]
    low, high = np.percentile(np.array(draws) / (m * k), [2.5, 97.5])
    return Estimate(float(wins_MK.mean()), float(low), float(high), m + k)


LEAST_DIVISOR = 0.05  # a smaller one would make a leak of thousands of per cent of a small difference


def privacy_leakage(auc: float, retrained_auc: float = 0.5) -> float:
    """PrivLeak = 100 (AUC - AUC_ref) / max(AUC_ref, 0.05); 0 as the retrained model, either sign leaks.

    The formula of MUSE (arXiv 2407.06460), whose divisor has no floor.

    Args:
        auc: membership AUC of the edited model, 0 to 1; larger where the target is known better.
        retrained_auc: that of the model retrained without the target, or 0.5 where there is none.
    """
    return 100.0 * (auc - retrained_auc) / max(retrained_auc, LEAST_DIVISOR)
