"""Components: named slices that share memory, never overlap, and are measured in float64."""

import pytest
import torch

from razor_pipeline.core.components import ParameterSlice, dot, head_components, parameter_names

from . import tiny


def test_heads_split_their_rows_and_columns_without_gap_or_overlap():
    count = {name: torch.zeros(shape) for name, shape in tiny.SHAPES.items()}
    for component in tiny.heads():
        for view in component.views(count):
            view += 1
    for name in ("q.weight", "q.bias", "out.weight"):
        assert torch.equal(count[name], torch.ones(tiny.SHAPES[name])), name
    assert not count["fc.weight"].any()


def test_a_head_owns_rows_of_q_and_columns_of_out():
    second = tiny.heads()[1]
    weights = tiny.tensors(0)
    rows, bias, columns = second.views(weights)
    assert torch.equal(rows, weights["q.weight"][4:])
    assert torch.equal(bias, weights["q.bias"][4:])
    assert torch.equal(columns, weights["out.weight"][:, 4:])
    assert second.numel(weights) == 4 * 8 + 4 + 8 * 4


def test_a_view_shares_memory():
    weights = tiny.tensors(0)
    next(tiny.heads()[0].views(weights)).zero_()
    assert not weights["q.weight"][:4].any()
    assert weights["q.weight"][4:].any()


def test_keys_are_unique_over_components():
    keys = [part.key for c in [*tiny.heads(), tiny.matrix()] for part in c.slices]
    assert len(keys) == len(set(keys))
    assert ParameterSlice("out.weight", 1, 4, 8).key == "out.weight[1:4:8]"


def test_parameter_names_are_distinct_and_in_order():
    assert parameter_names([*tiny.heads(), tiny.matrix()]) == tuple(tiny.SHAPES)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"vision.3.*width 10.*4 heads"):
        head_components("vision.3.attention", "vision", 3, 4, 10, {"rows": [], "columns": []})


def test_dot_accumulates_in_float64():
    # 2049 ones in half precision: a float16 sum stops at 2048, where adding one no longer changes it.
    ones = torch.ones(2049, dtype=torch.float16)
    assert dot(iter([ones]), iter([ones])) == 2049.0
    assert float(ones.sum()) != 2049.0  # control


def test_dot_refuses_unequal_lists():
    with pytest.raises(ValueError, match="zip"):
        dot(iter([torch.ones(2)]), iter([torch.ones(2), torch.ones(2)]))
