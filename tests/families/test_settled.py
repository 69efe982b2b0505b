"""Layers that an edit does not reach run once for a batch that comes again, and change nothing."""

import gc
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from razor_pipeline.core.gradients import requiring_grad
from razor_pipeline.families.batches import RowBatch
from razor_pipeline.families.settled import Settled


@dataclass(frozen=True, eq=False)
class Batch(RowBatch):
    given: torch.Tensor


class Counted(nn.Linear):
    ran = 0

    def forward(self, given):
        self.ran += 1
        return super().forward(given).tanh()


class Chain:
    def __init__(self):
        torch.manual_seed(0)
        self.parts = [Counted(4, 4).requires_grad_(False) for _ in range(4)]
        self.settled = Settled()
        self.batch = Batch(torch.randn(3, 4))

    def check(self, batch=None):
        """How often each part ran; what comes out is what the chain gives without anything kept."""
        batch = batch or self.batch
        before = [part.ran for part in self.parts]
        found = self.settled.run(self.parts, batch, batch.given)
        ran = [part.ran - n for part, n in zip(self.parts, before, strict=True)]
        assert torch.equal(found, nn.Sequential(*self.parts)(batch.given))
        return ran

    def write(self, place):
        with torch.no_grad():
            self.parts[place].weight.add_(0.1)


@pytest.fixture
def chain():
    return Chain()


def test_what_the_edit_leaves_alone_is_left_out_from_the_second_edit_on(chain):
    assert chain.check() == [1, 1, 1, 1]
    assert chain.check() == [0, 0, 0, 0]
    chain.write(2)
    assert chain.check() == [1, 1, 1, 1]
    for place in (2, 3, 2):
        chain.write(place)
        assert chain.check() == [0, 0, 1, 1]


def test_a_write_below_what_is_kept_is_seen(chain):
    """Control: what was kept would be wrong, and is not used."""
    chain.check()
    chain.write(2)
    chain.check()
    chain.write(1)
    assert chain.check() == [1, 1, 1, 1]
    chain.write(3)
    assert chain.check() == [0, 1, 1, 1]
    chain.write(0)
    assert chain.check() == [1, 1, 1, 1]
    assert chain.check() == [1, 1, 1, 1]


def test_batches_do_not_share_what_is_kept(chain):
    other = Batch(torch.randn(3, 4))
    for _ in range(3):
        chain.check()
        chain.check(other)
    assert chain.check(other) == [0, 0, 0, 0]


def test_parts_that_are_trained_always_run(chain):
    chain.check()
    chain.write(2)
    chain.check()
    weights = [part.weight for part in chain.parts]
    with requiring_grad(weights):
        assert chain.check() == [1, 1, 1, 1]
        chain.settled.run(chain.parts, chain.batch, chain.batch.given).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in weights)


def test_parts_with_hooks_always_run(chain):
    chain.check()
    seen = []
    with chain.parts[1].register_forward_hook(lambda *_: seen.append(1)):
        chain.check()
        chain.check()
    assert len(seen) == 4  # by the chain, and by what it is compared with
    assert chain.check() == [0, 0, 0, 0]


def test_gradients_of_late_parts_are_those_of_the_whole_chain(chain):
    late = chain.parts[2].weight
    gradients = []
    with requiring_grad([late]):
        for batch in (chain.batch, chain.batch, Batch(chain.batch.given)):
            late.grad = None
            chain.settled.run(chain.parts, batch, batch.given).square().sum().backward()
            gradients.append(late.grad.clone())
        assert chain.check() == [0, 0, 1, 1]  # so the second one came from what was kept
    assert gradients[0].any()
    assert torch.equal(gradients[1], gradients[2])


def test_a_batch_takes_with_it_what_was_kept(chain):
    for _ in range(3):
        chain.check()
    assert len(chain.settled._visits) == 1
    chain.batch = None
    gc.collect()
    assert len(chain.settled._visits) == 0
