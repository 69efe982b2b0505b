"""Input covariances: what is recorded, and that whitening is the best step for a given movement."""

import pytest
import torch
from torch import nn

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.curvature import InputFactors, recording_inputs, whiten


@pytest.fixture
def inputs():
    return torch.randn(50, 6, generator=torch.Generator().manual_seed(0))


def test_the_sums_are_those_of_the_inputs(inputs):
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    with recording_inputs(model, {"0.weight", "0.bias"}) as sums:
        for batch in inputs.split(20):
            model(batch.reshape(-1, 2, 6))
    assert set(sums) == {"0.weight"}
    torch.testing.assert_close(sums["0.weight"], inputs.T @ inputs)


class Attention(nn.Module):
    """Queries and keys read one tensor, values an equal one."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        return self.q(x) + self.k(x) + self.v(x.clone())


def test_layers_that_read_one_tensor_share_one_sum(inputs):
    model = Attention()
    with recording_inputs(model, {"q.weight", "k.weight", "v.weight"}) as sums:
        for batch in inputs.split(20):
            model(batch)
    assert sums["q.weight"] is sums["k.weight"]
    assert sums["v.weight"] is not sums["q.weight"]  # control
    for found in sums.values():  # none of them twice
        torch.testing.assert_close(found, inputs.T @ inputs)


def test_nothing_is_recorded_behind_the_block_also_after_an_error(inputs):
    model = nn.Sequential(nn.Linear(6, 4))
    with pytest.raises(RuntimeError), recording_inputs(model, {"0.weight"}) as sums:  # noqa: PT012
        model(inputs)
        model(inputs[:, :2])
    before = sums["0.weight"].clone()
    model(inputs)
    assert torch.equal(sums["0.weight"], before)


def _movement(change, covariance) -> float:
    return float(torch.trace(change @ covariance @ change.T))


def test_whitening_gains_most_for_a_given_movement(inputs):
    scales = torch.tensor([3.0, 1.0, 1.0, 0.3, 0.3, 0.1])
    covariance = (inputs * scales).T @ (inputs * scales)
    gradient = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    whitened = whiten(ParameterSlice("w"), gradient, InputFactors({"w": covariance}, 1e-9))

    def gain(change) -> float:
        return float((gradient * change).sum()) / _movement(change, covariance) ** 0.5

    best = gain(whitened)
    assert best > 1.2 * gain(gradient)  # control: the plain gradient gains less
    for seed in range(20):
        nearby = whitened + 0.1 * whitened.norm() * torch.randn(
            4, 6, generator=torch.Generator().manual_seed(seed)
        )
        assert gain(nearby) < best


def test_columns_use_their_own_block_and_rows_the_whole(inputs):
    covariance = inputs.T @ inputs
    gradient = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    factors = InputFactors({"w": covariance, "v": covariance[2:5, 2:5]}, 0.1)
    columns = whiten(ParameterSlice("w", 1, 2, 5), gradient[:, 2:5], factors)
    torch.testing.assert_close(columns, whiten(ParameterSlice("v"), gradient[:, 2:5], factors))
    rows = whiten(ParameterSlice("w", 0, 1, 3), gradient[1:3], factors)
    torch.testing.assert_close(rows, whiten(ParameterSlice("w"), gradient, factors)[1:3])


def test_without_a_covariance_there_is_no_direction(inputs):
    none = InputFactors({"w": torch.zeros(6, 6)}, 0.1)
    assert not whiten(ParameterSlice("b"), torch.ones(4), none).any()
    assert not whiten(ParameterSlice("w"), torch.ones(4, 6), none).any()


def test_a_covariance_is_factored_once_for_all_weights_and_steps(inputs, monkeypatch):
    made, factored = [], torch.linalg.cholesky
    monkeypatch.setattr(torch.linalg, "cholesky", lambda matrix: made.append(matrix) or factored(matrix))
    covariance = inputs.T @ inputs
    factors = InputFactors({"q": covariance, "k": covariance, "v": 2.0 * covariance}, 0.1)
    for _ in range(3):
        for part in (ParameterSlice("q"), ParameterSlice("q", 0, 1, 3), ParameterSlice("k")):
            assert whiten(part, torch.ones(4, 6), factors).any()
    assert len(made) == 1
    for part in (ParameterSlice("v"), ParameterSlice("q", 1, 0, 3), ParameterSlice("q", 1, 3, 6)):  # control
        factors.of(part)
    assert len(made) == 4
