"""Metrics against published values, independent implementations, and the coverage of their intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit
from sklearn.metrics import roc_auc_score

from razor_pipeline.core import metrics

scores = st.lists(st.integers(-3, 3), min_size=1, max_size=25).map(lambda x: np.array(x, dtype=float))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_matches_published_intervals(hits, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17, table I, score method without continuity correction."""
    found = metrics.share(np.arange(n) < hits)
    assert found.value == hits / n
    assert found.n == n
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)
    wald = metrics.Z95 * math.sqrt(found.value * (1 - found.value) / n)
    assert abs(found.value + wald - high) > 5e-4  # control: the textbook interval is another one


@given(n=st.integers(1, 400), data=st.data())
def test_wilson_bounds_are_where_the_score_test_just_rejects(n, data):
    hits = data.draw(st.integers(0, n))
    found = metrics.share(np.arange(n) < hits)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    for bound in {found.low, found.high} - {0.0, 1.0}:
        z = abs(found.value - bound) / math.sqrt(bound * (1 - bound) / n)
        assert z == pytest.approx(metrics.Z95, rel=1e-6) or bound == found.value


def test_frechet_distance_of_known_normal_distributions():
    """In one dimension it is the squared difference of means and of standard deviations; a turn changes nothing."""
    rng = np.random.default_rng(0)
    first, second = (
        rng.normal(0.0, 1.0, (20_000, 3)),
        rng.normal(0.0, 1.0, (20_000, 3)) * 2.0 + [3.0, 0.0, 0.0],
    )
    assert metrics.frechet_distance(first[:, :1], second[:, :1]) == pytest.approx(9.0 + 1.0, abs=0.2)
    whole = metrics.frechet_distance(first, second)
    assert whole == pytest.approx(9.0 + 3.0, abs=0.3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert metrics.frechet_distance(first @ turn, second @ turn) == pytest.approx(whole)
    assert metrics.frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_of_fewer_samples_than_features_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(7, 12)), rng.normal(size=(9, 12)) * 2.0 + 1.0
    product = np.cov(first, rowvar=False) @ np.cov(second, rowvar=False)
    root = np.sqrt(np.clip(np.linalg.eigvals(product).real, 0.0, None)).sum()
    traces = first.var(axis=0, ddof=1).sum() + second.var(axis=0, ddof=1).sum()
    apart = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    assert metrics.frechet_distance(first, second) == pytest.approx(apart + traces - 2.0 * root, rel=1e-6)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    sample = np.random.default_rng(1).normal(size=400)
    found = metrics.jackknife(lambda index: float(sample[index].mean()), 400, groups=400)
    half = stdtrit(399, 0.975) * sample.std(ddof=1) / math.sqrt(400)
    assert found.high - found.value == pytest.approx(half)
    assert (found.value, found.n) == (pytest.approx(sample.mean()), 400)


def test_wilson_covers_a_rare_share():
    """Exact coverage at n = 20, averaged over shares, is near 95 %; that of the textbook interval is not."""

    def covered(interval) -> float:
        total = 0.0
        for p in (grid := np.linspace(0.01, 0.3, 30)):
            for k in range(21):
                low, high = interval(k)
                total += math.comb(20, k) * p**k * (1 - p) ** (20 - k) * (low <= p <= high)
        return total / len(grid)

    def wilson(k):
        found = metrics.share(np.arange(20) < k)
        return found.low, found.high

    def wald(k):
        half = metrics.Z95 * math.sqrt(k / 20 * (1 - k / 20) / 20)
        return k / 20 - half, k / 20 + half

    assert 0.94 < covered(wilson) < 0.98
    assert covered(wald) < 0.85  # control


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        metrics.share(np.array([], dtype=bool))


@given(members=scores, nonmembers=scores)
def test_auc_equals_scikit_learn_ties_included(members, nonmembers):
    labels = np.r_[np.ones(len(members)), np.zeros(len(nonmembers))]
    assert metrics.auc(members, nonmembers) == pytest.approx(
        roc_auc_score(labels, np.r_[members, nonmembers])
    )


@given(members=scores, nonmembers=scores)
def test_auc_turns_over_with_its_sides_and_knows_only_ranks(members, nonmembers):
    value = metrics.auc(members, nonmembers)
    assert value + metrics.auc(nonmembers, members) == pytest.approx(1.0)
    assert metrics.auc(np.exp(members), np.exp(nonmembers)) == pytest.approx(value)


def test_membership_interval_covers_the_true_auc():
    """Two normals one standard deviation apart: AUC = Phi(1 / sqrt 2)."""
    true = 0.5 * (1 + math.erf(0.5))
    rng = np.random.default_rng(3)
    found = [metrics.membership_auc(rng.normal(1, 1, 40), rng.normal(0, 1, 60), 200) for _ in range(300)]
    assert 0.9 <= np.mean([f.low <= true <= f.high for f in found]) <= 0.99
    assert np.mean([_halved(f)[0] <= true <= _halved(f)[1] for f in found]) < 0.8  # control


def test_membership_interval_holds_the_value_and_counts_both_groups():
    rng = np.random.default_rng(0)
    members, others = rng.normal(1, 1, 30), rng.normal(0, 1, 50)
    found = metrics.membership_auc(members, others)
    assert found.value == pytest.approx(metrics.auc(members, others))
    assert found.low < found.value < found.high
    assert found.n == 80
    assert metrics.membership_auc(members, others) == found
    assert metrics.membership_auc(members, others, seed=1) != found


def test_the_jackknife_covers_the_mean_of_eight():
    rng = np.random.default_rng(5)
    covered = {"jackknife": 0, "bootstrap": 0}
    for _ in range(400):
        data = rng.normal(size=8)

        def mean(index, data=data):
            return float(data[index].mean())

        for name, found in (
            ("jackknife", metrics.jackknife(mean, 8, groups=8)),
            ("bootstrap", metrics.bootstrap(mean, 8, 200)),
        ):
            covered[name] += found.low <= 0.0 <= found.high
    assert 0.92 <= covered["jackknife"] / 400 <= 0.98
    assert covered["bootstrap"] / 400 < 0.91  # control: why it is not used for few


def test_the_class_that_loses_most_is_the_one_that_does_so_beyond_doubt():
    classes = np.repeat(["few", "many", "hard"], [2, 20, 8])
    before = classes != "hard"
    place = np.concatenate([np.arange(size) for size in (2, 20, 8)])
    after = before & (((classes == "few") & (place < 1)) | ((classes == "many") & (place < 11)))
    label, lost = metrics.most_lost(before, after, classes)
    assert (label, lost) == ("many", metrics.share(np.arange(20) < 9))  # 9 of 20, though "few" loses half
    label, lost = metrics.most_lost(before, before & (after | (classes == "many")), classes)  # control
    assert (label, lost.value) == ("few", 0.5)
    assert (
        metrics.most_lost(before, ~before | before, classes)[1].value == 0.0
    )  # what is gained does not count


def test_bootstrap_covers_the_mean():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(150):
        data = rng.exponential(1.0, 60)
        found.append(metrics.bootstrap(lambda index, data=data: float(data[index].mean()), 60, 200))
    assert 0.87 <= np.mean([f.low <= 1.0 <= f.high for f in found]) <= 0.99
    assert np.mean([_halved(f)[0] <= 1.0 <= _halved(f)[1] for f in found]) < 0.8  # control


def test_bootstrap_leaves_undefined_resamples_out():
    found = metrics.bootstrap(lambda index: float("nan") if 0 not in index else 1.0, 5, 100)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def _halved(found: metrics.Estimate) -> tuple[float, float]:
    return (found.value + found.low) / 2, (found.value + found.high) / 2


@given(st.integers(1, 7), st.integers(0, 1000))
def test_top_k_is_membership_in_the_sorted_head(k, seed):
    rng = np.random.default_rng(seed)
    table, labels = rng.permutation(30 * 5).reshape(30, 5).astype(float), rng.integers(0, 5, 30)
    wanted = [label in np.argsort(-row)[:k] for row, label in zip(table, labels, strict=True)]
    assert metrics.top_k_hits(table, labels, k).tolist() == wanted


def test_macro_accuracy_weighs_classes_alike():
    labels = np.array([0] * 9 + [1])
    table = np.tile([1.0, 0.0], (10, 1))  # always says class 0
    assert metrics.macro_accuracy(table, labels).value == 0.5
    assert metrics.share(metrics.top_k_hits(table, labels)).value == 0.9  # control: the plain share


def test_macro_accuracy_ignores_classes_without_samples():
    assert metrics.macro_accuracy(np.eye(4)[[0, 3]], np.array([0, 3])).value == 1.0


@pytest.mark.parametrize(
    ("auc", "reference", "leak"),
    [
        (0.5, 0.5, 0.0),
        (1.0, 0.5, 100.0),
        (0.0, 0.5, -100.0),
        (0.22, 0.11, 100.0),
        (0.03, 0.03, 0.0),  # as the retrained model, however low that lies
        (0.04, 0.03, 20.0),
        (0.4, 0.0, 800.0),
    ],
)
def test_privacy_leakage(auc, reference, leak):
    assert metrics.privacy_leakage(auc, reference) == pytest.approx(leak)
