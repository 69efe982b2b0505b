"""Copies of a model: what they share, what they hold of their own, and that they cost no more than they say."""

import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from razor_pipeline.core.copies import copied_but_for_weights, in_dtype
from razor_pipeline.core.quantize import quantized


class Tied(nn.Module):
    """An embedding whose weight is the output's, a matrix, and a buffer of each kind."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(64, 64)
        self.inner = nn.Linear(64, 64)
        self.output = nn.Linear(64, 64, bias=False)
        self.output.weight = self.embedding.weight
        self.register_buffer("scale", torch.rand(64))
        self.register_buffer("places", torch.arange(4))

    def forward(self, x):
        return self.output(self.inner(self.embedding(x)) * self.scale)


class Allocated(TorchDispatchMode):
    """Bytes of all storages that operations make, the module's own left out."""

    def __init__(self, module):
        super().__init__()
        self.bytes, self.seen = 0, {own.untyped_storage().data_ptr(): own for own in module.parameters()}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in self.seen:
            self.seen[out.untyped_storage().data_ptr()] = out  # kept, so that no address is given twice
            self.bytes += out.untyped_storage().nbytes()
        return out


def test_the_given_layers_share_their_weights_and_all_else_is_the_copys_own():
    module = Tied()
    made = copied_but_for_weights(module, [module.inner])
    assert made.inner.weight is module.inner.weight
    for name in ("inner.bias", "embedding.weight"):
        own, theirs = made.get_parameter(name), module.get_parameter(name)
        assert own is not theirs
        assert torch.equal(own, theirs)
    assert made.output.weight is made.embedding.weight


def test_a_weight_that_an_embedding_has_too_is_not_shared():
    module = Tied()
    made = copied_but_for_weights(module, [module.inner, module.output])
    with torch.no_grad():
        module.embedding.weight.zero_()
    assert made.embedding.weight.abs().sum() > 0


@pytest.mark.parametrize("scheme", ["int8", "int4", "nf4"])
def test_a_quantized_model_keeps_its_embedding_where_the_output_is_tied_to_it(scheme):
    module = Tied().requires_grad_(False)
    small, tokens = quantized(module, scheme), torch.arange(64)
    assert torch.equal(small.embedding(tokens), module.embedding(tokens))
    assert type(small.output.weight) is not type(small.embedding.weight)
    before = small(tokens)
    module.embedding.weight.zero_()
    module.inner.weight.zero_()
    assert torch.equal(small(tokens), before)  # nothing of it is the model's


def test_a_copy_in_another_dtype_is_what_a_copy_that_is_converted_would_be():
    module = Tied()
    made, plain = in_dtype(module, torch.float16), copy.deepcopy(module).to(torch.float16)
    assert made.state_dict().keys() == plain.state_dict().keys()
    for name, tensor in plain.state_dict().items():
        assert made.state_dict()[name].dtype == tensor.dtype
        assert torch.equal(made.state_dict()[name], tensor)
    assert made.output.weight is made.embedding.weight
    assert module.inner.weight.dtype == torch.float32


def test_nothing_is_copied_where_the_dtype_is_the_models():
    module = Tied()
    assert in_dtype(module, torch.float32) is module


def test_a_narrower_copy_takes_its_own_size_and_no_more():
    module = nn.Sequential(*(nn.Linear(128, 128) for _ in range(4)))
    size = sum(own.nbytes for own in module.parameters())
    with Allocated(module) as narrow:
        in_dtype(module, torch.float16)
    with Allocated(module) as plain:
        copy.deepcopy(module).to(torch.float16)
    assert narrow.bytes == size / 2
    assert plain.bytes > size  # control: what it took before


def test_a_copy_that_shares_its_weights_takes_no_memory_for_them():
    module = nn.Sequential(*(nn.Linear(128, 128, bias=False) for _ in range(4)))
    with Allocated(module) as taken:
        copied_but_for_weights(module, list(module))
    with Allocated(module) as plain:
        copy.deepcopy(module)
    assert taken.bytes == 0
    assert plain.bytes == sum(own.nbytes for own in module.parameters())  # control
