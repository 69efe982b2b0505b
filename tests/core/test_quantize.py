"""Quantization: error bounds, exact reload, and whether an edit survives the rounding."""

import pytest
import torch
from torch import nn

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.quantize import changed_bin_share, packed, quantized, unpacked
from razor_pipeline.core.weight_edit import WeightEdit

SCHEMES = ("int8", "int4", "nf4")


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 16)).requires_grad_(False)


@pytest.mark.parametrize(("scheme", "bound"), [("int8", 0.02), ("int4", 0.2), ("nf4", 0.2)])
def test_outputs_stay_near_and_fewer_bits_stray_further(scheme, bound):
    module, x = network(), torch.randn(32, 64)
    error = (quantized(module, scheme)(x) - module(x)).norm() / module(x).norm()
    assert 0 < error < bound


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_model_itself_stays_as_it_is(scheme):
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    quantized(module, scheme)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_packed_weights_come_back_bit_for_bit_in_another_model(scheme):
    x = torch.randn(8, 64)
    source = quantized(network(0), scheme)
    state = packed(source)
    assert all(type(tensor) is torch.Tensor for tensor in state.values())
    assert torch.equal(unpacked(network(1), state, scheme)(x), source(x))
    assert not torch.equal(quantized(network(1), scheme)(x), source(x))  # control: it is another model


@pytest.mark.parametrize("shape", [(64, 96), (5, 3)])  # the latter has an odd number of codes
def test_codes_of_four_bits_are_two_in_a_byte(shape):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(*shape)).requires_grad_(False)
    source = quantized(module, "int4")
    codes = source[0].weight.qdata
    assert codes.min() == -8 or codes.max() == 7  # an end of the range is there
    state = packed(source)
    assert state["0.weight/qdata"].nbytes == -(-codes.numel() // 2)
    again = unpacked(nn.Sequential(nn.Linear(*shape)).requires_grad_(False), state, "int4")
    assert torch.equal(again[0].weight.qdata, codes)


@pytest.mark.parametrize("other", ["nf4", "int4"])
def test_packed_weights_of_another_scheme_are_refused(other):
    with pytest.raises(ValueError, match=f"do not fit this model in {other}"):
        unpacked(network(), packed(quantized(network(), "int8")), other)


def test_the_share_of_changed_bins_tells_a_large_edit_from_one_that_rounding_undoes():
    base = network()
    part = ParameterSlice("0.weight", 0, 0, 8)
    shares = {}
    for size in (1e-6, 1.0):
        edited = network()
        part.view(edited[0].weight).mul_(1 + size)
        edit = WeightEdit((part,), {}, {part.key: part.view(edited[0].weight)})
        rounded = (quantized(module, "int8") for module in (base, edited))
        shares[size] = changed_bin_share(*rounded, edit)
    assert shares[1e-6] < 0.01
    edited = network()
    part.view(edited[0].weight).copy_(torch.randn(8, 64))
    edit = WeightEdit((part,), {}, {part.key: part.view(edited[0].weight)})
    rounded = (quantized(module, "int8") for module in (base, edited))
    assert changed_bin_share(*rounded, edit) > 0.9


@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_a_row_that_is_scaled_as_a_whole_has_changed_and_one_of_which_one_weight_grew_has_not(scheme):
    """Its codes say the opposite: they count in units of the row's largest weight."""
    part = ParameterSlice("0.weight", 0, 0, 96)
    shares = {}
    for name in ("scaled", "one"):
        edited = network()
        with torch.no_grad():
            if name == "scaled":
                edited[0].weight.mul_(2.0)
            else:
                largest = edited[0].weight.abs().argmax(dim=1, keepdim=True)
                edited[0].weight.scatter_(1, largest, edited[0].weight.gather(1, largest) * 1.2)
        edit = WeightEdit((part,), {}, {part.key: part.view(edited[0].weight)})
        rounded = (quantized(module, scheme) for module in (network(), edited))
        shares[name] = changed_bin_share(*rounded, edit)
    assert shares["scaled"] > 0.6
    assert shares["one"] < 0.4
