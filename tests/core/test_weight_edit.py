"""A weight edit applies, reverts and verifies bit for bit, and refuses every other model untouched."""

from dataclasses import replace

import pytest
import torch

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.weight_edit import EditMismatchError, WeightEdit, applied, preserved

from . import tiny

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _edit(dtype: torch.dtype = torch.float32) -> WeightEdit:
    """An edit of head 1 and of the feed-forward matrix."""
    components = (tiny.heads()[1], tiny.matrix())
    slices = tuple(part for c in components for part in c.slices)
    base, other = tiny.tensors(0, dtype), tiny.tensors(7, dtype)
    before = {part.key: part.view(base[part.parameter]).clone() for part in slices}
    after = {part.key: part.view(other[part.parameter]).clone() for part in slices}
    return WeightEdit(slices, before, after, tuple(c.name for c in components))


def _bits(parameters):
    return {name: tensor.contiguous().view(torch.uint8) for name, tensor in parameters.items()}


def _same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(_bits(a).values(), _bits(b).values(), strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_apply_then_revert_brings_every_bit_back(dtype):
    model, edit = tiny.tensors(0, dtype), _edit(dtype)
    edit.apply(model)
    assert not _same(model, tiny.tensors(0, dtype))  # control: something was changed
    assert edit.state_of(model) == "edited"
    edit.revert(model)
    assert _same(model, tiny.tensors(0, dtype))
    assert edit.state_of(model) == "base"


@pytest.mark.parametrize("dtype", DTYPES)
def test_adding_the_difference_would_not(dtype):
    """Control: why both states are kept and not their difference."""
    base, edited = tiny.tensors(0, dtype), tiny.tensors(7, dtype)
    delta = {name: edited[name] - base[name] for name in base}
    back = {name: (base[name] + delta[name]) - delta[name] for name in base}
    assert not _same(back, base)


def test_only_the_slices_change():
    model, edit = tiny.tensors(0), _edit()
    edit.apply(model)
    untouched = tiny.tensors(0)
    assert torch.equal(model["q.weight"][:4], untouched["q.weight"][:4])
    assert torch.equal(model["out.weight"][:, :4], untouched["out.weight"][:, :4])
    assert torch.equal(model["out.weight"][:, 4:], tiny.tensors(7)["out.weight"][:, 4:])
    assert edit.weights == 4 * 8 + 4 + 8 * 4 + 12 * 8 + 12


def _one_weight_off(model):
    model["fc.bias"][11] += 1e-3  # the last slice: the earlier ones must stay as they are, too


def _missing(model):
    del model["fc.weight"]


def _narrower(model):
    model["out.weight"] = model["out.weight"][:, :6].clone()


def _other_shape(model):
    model["fc.bias"] = torch.zeros(13)


def _flat(model):
    model["out.weight"] = model["out.weight"].flatten()


@pytest.mark.parametrize("spoil", [_one_weight_off, _missing, _narrower, _other_shape, _flat])
@pytest.mark.parametrize("verb", ["apply", "revert"])
def test_another_model_is_refused_and_nothing_changes(spoil, verb):
    model, edit = tiny.tensors(0), _edit()
    if verb == "revert":
        edit.apply(model)
    spoil(model)
    before = {name: tensor.clone() for name, tensor in model.items()}
    with pytest.raises(EditMismatchError, match=rf"cannot {verb} the edit: '.*' does not hold"):
        getattr(edit, verb)(model)
    assert _same(model, before)
    assert edit.state_of(model) == "other"


@pytest.mark.parametrize("verb", ["apply", "revert"])
def test_doing_it_twice_is_refused(verb):
    model, edit = tiny.tensors(0), _edit()
    edit.apply(model)
    if verb == "revert":
        edit.revert(model)
    with pytest.raises(
        EditMismatchError, match=f"not {'applied' if verb == 'apply' else 'reverted'} already"
    ):
        getattr(edit, verb)(model)


def test_an_edit_in_float16_applies_to_the_upcast_model():
    """A float16 checkpoint runs in float32: the upcast is exact, so the edit still fits and still reverts."""
    base = {name: t.float() for name, t in tiny.tensors(0, torch.float16).items()}
    model, edit = {name: t.clone() for name, t in base.items()}, _edit(torch.float16)
    edit.apply(model)
    assert torch.equal(model["fc.weight"], tiny.tensors(7, torch.float16)["fc.weight"].float())
    edit.revert(model)
    assert _same(model, base)


def test_applied_holds_inside_and_is_gone_behind_also_on_error():
    model, edit = tiny.tensors(0), _edit()
    with pytest.raises(RuntimeError, match="stop"), applied(model, edit):  # noqa: PT012
        assert edit.state_of(model) == "edited"
        model["fc.weight"].mul_(3)
        raise RuntimeError("stop")
    assert _same(model, tiny.tensors(0))


def test_preserved_undoes_any_change_of_its_components_and_of_nothing_else():
    model = tiny.tensors(0)
    with pytest.raises(RuntimeError, match="stop"), preserved(model, [tiny.matrix()]):  # noqa: PT012
        model["fc.weight"].zero_()
        model["q.weight"].zero_()
        raise RuntimeError("stop")
    assert torch.equal(model["fc.weight"], tiny.tensors(0)["fc.weight"])
    assert not model["q.weight"].any()  # control: what is not named is not restored


def test_an_edit_with_a_stray_slice_is_refused():
    edit = _edit()
    stray = replace(edit, slices=(*edit.slices, ParameterSlice("nowhere")))
    assert stray.state_of(tiny.tensors(0)) == "other"


def test_weights_that_are_as_they_were_are_not_counted_as_edited():
    edit = _edit()
    whole = sum(piece.numel() for piece in edit.after.values())
    assert edit.weights == whole  # control: all of them differ
    key, piece = next(iter(edit.after.items()))
    piece.flatten()[:3] = edit.before[key].flatten()[:3]
    assert edit.weights == whole - 3
