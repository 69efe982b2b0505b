"""Mean gradients: the batch size must not show, nothing may leak, and NaN is named."""

import pytest
import torch

from razor_pipeline.core.gradients import NonFiniteError, assert_finite, mean_gradients, requiring_grad


@pytest.fixture
def leaf():
    return torch.nn.Parameter(torch.tensor([1.0, -2.0]), requires_grad=False)


def _loss(leaf):
    return lambda batch: (batch @ leaf).square().mean()


DATA = torch.tensor([[1.0, 0.0], [0.5, 2.0], [3.0, 1.0], [0.0, 1.0], [4.0, -2.0]])


@pytest.mark.parametrize("sizes", [(5,), (4, 1), (2, 2, 1), (1, 1, 1, 1, 1)])
def test_the_mean_is_over_samples_however_they_are_batched(leaf, sizes):
    found = mean_gradients(_loss(leaf), DATA.split(sizes), {"w": leaf}, "forget")
    wanted = 2 * DATA.T @ (DATA @ leaf) / 5
    assert torch.allclose(found.tensors["w"], wanted)
    assert found.loss == pytest.approx(float(_loss(leaf)(DATA)))


def test_a_mean_of_batch_means_would_be_another(leaf):
    """Control of the test above."""
    parts = [2 * d.T @ (d @ leaf) / len(d) for d in DATA.split((4, 1))]
    assert not torch.allclose(torch.stack(parts).mean(0), 2 * DATA.T @ (DATA @ leaf) / 5)


def test_nothing_is_left_behind_and_a_second_pass_sees_nothing_of_the_first(leaf):
    first = mean_gradients(_loss(leaf), [DATA], {"w": leaf}, "forget")
    second = mean_gradients(_loss(leaf), [DATA], {"w": leaf}, "forget")
    assert torch.equal(first.tensors["w"], second.tensors["w"])
    assert leaf.grad is None
    assert leaf.requires_grad is False


def test_a_gradient_that_was_there_plays_no_part_and_stays(leaf):
    clean = mean_gradients(_loss(leaf), [DATA], {"w": leaf}, "forget")
    leaf.grad = torch.ones(2)
    found = mean_gradients(_loss(leaf), [DATA], {"w": leaf}, "forget")
    assert torch.equal(found.tensors["w"], clean.tensors["w"])
    assert torch.equal(leaf.grad, torch.ones(2))


def test_each_gradient_is_freed_before_the_next_is_made():
    """So that one copy of all gradients is held, the sums, and not a second one of a batch's."""
    leaves = {str(i): torch.nn.Parameter(torch.ones(1)) for i in range(4)}
    alive = []

    def loss(batch):
        x = batch[:, 0].mean()
        for leaf in leaves.values():
            x = x * leaf
            x.register_hook(lambda _: alive.append(sum(leaf.grad is not None for leaf in leaves.values())))
        return x.sum()

    mean_gradients(loss, [DATA], leaves, "forget")
    assert alive == [0] * 4
    total = loss(DATA)
    total.backward()
    assert max(alive[4:]) > 1  # control: a plain backward pass holds what it has made


def test_it_works_where_gradients_are_off(leaf):
    with torch.no_grad():
        assert mean_gradients(_loss(leaf), [DATA], {"w": leaf}, "forget").tensors["w"].any()


def test_a_parameter_out_of_reach_gets_zeros(leaf):
    other = torch.nn.Parameter(torch.ones(3))
    found = mean_gradients(_loss(leaf), [DATA], {"w": leaf, "other": other}, "forget")
    assert torch.equal(found.tensors["other"], torch.zeros(3))


def test_flags_are_restored_also_on_error():
    on, off = torch.ones(1, requires_grad=True), torch.ones(1)
    with pytest.raises(RuntimeError, match="stop"), requiring_grad([on, off]):  # noqa: PT012
        assert off.requires_grad
        raise RuntimeError("stop")
    assert (on.requires_grad, off.requires_grad) == (True, False)


def test_a_nan_loss_is_named(leaf):
    batches = [DATA, DATA * torch.nan]
    with pytest.raises(NonFiniteError, match=r"the forget loss is nan after 5 samples"):
        mean_gradients(_loss(leaf), batches, {"w": leaf}, "forget")


def test_an_infinite_gradient_of_a_finite_loss_names_its_parameter(leaf):
    def finite_loss_infinite_gradient(_):
        return (leaf - leaf.detach()).abs().sum().sqrt()

    with pytest.raises(NonFiniteError, match=r"retain gradient of 'text.w'"):
        mean_gradients(finite_loss_infinite_gradient, [DATA], {"text.w": leaf}, "retain")


def test_no_data_is_refused(leaf):
    with pytest.raises(ValueError, match="the forget set is empty"):
        mean_gradients(_loss(leaf), [], {"w": leaf}, "forget")


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_assert_finite_names_the_first_bad_tensor(bad):
    good = {"a": torch.ones(2), "b": torch.ones(2)}
    assert_finite(good, "the weight")
    good["b"][1] = bad
    with pytest.raises(NonFiniteError, match=r"the weight of 'b' has NaN or Inf"):
        assert_finite(good, "the weight")
