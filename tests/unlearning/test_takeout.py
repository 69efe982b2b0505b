"""Taking edits out: exact where they commute, the sum of the rest where they do not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.requests.takeout import overlap, without

ROWS = 6
Spans = st.tuples(st.integers(0, ROWS - 1), st.integers(1, ROWS)).map(
    lambda s: (s[0], min(ROWS, s[0] + s[1]))
)


def edit_on(parameters: dict[str, torch.Tensor], span: tuple[int, int], seed: int) -> WeightEdit:
    """An edit of some rows, made from the weights as they are, and applied."""
    part = ParameterSlice("w", 0, *span)
    before = part.view(parameters["w"]).to(torch.float16).clone()
    noise = torch.randn(before.shape, generator=torch.Generator().manual_seed(seed))
    edit = WeightEdit((part,), {part.key: before}, {part.key: (before + 0.1 * noise).to(torch.float16)})
    edit.apply(parameters)
    return edit


@given(st.lists(Spans, min_size=2, max_size=5), st.data())
def test_what_is_left_is_the_base_plus_the_other_edits(
    spans: list[tuple[int, int]], data: st.DataObject
) -> None:
    parameters = {"w": torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(9)).half().float()}
    origin = parameters["w"].clone()
    edits = [edit_on(parameters, span, seed) for seed, span in enumerate(spans)]
    which = data.draw(st.integers(0, len(edits) - 1))
    taken, later = edits[which], edits[which + 1 :]
    expected = origin.double()
    for edit in edits:
        if edit is not taken:
            [part] = edit.slices
            part.view(expected).add_(edit.after[part.key].double() - edit.before[part.key].double())
    how = without(parameters, taken, later)
    commute = not any(overlap(taken, edit) for edit in later)
    assert how == ("reverted" if commute else "recomposed")
    torch.testing.assert_close(parameters["w"].double(), expected, atol=1e-2, rtol=0)
    if commute:
        untouched = {"w": origin.clone()}
        for edit, span in zip(edits, spans, strict=True):
            if edit is not taken:
                part = ParameterSlice("w", 0, *span)
                part.view(untouched["w"]).copy_(edit.after[part.key])
        rows = [
            row for row in range(ROWS) if not any(a <= row < b for a, b in spans if (a, b) == spans[which])
        ]
        assert torch.equal(parameters["w"][rows], untouched["w"][rows])
    assert torch.equal(parameters["w"], parameters["w"].half().float())  # nothing is lost when it is saved


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_edits_that_are_loaded_on_the_cpu_are_taken_out_of_a_model_on_a_gpu() -> None:
    parameters = {"w": torch.zeros(ROWS, 3)}
    edits = [edit_on(parameters, span, seed) for seed, span in enumerate([(0, 3), (1, 4)])]
    on_gpu = {"w": parameters["w"].cuda()}
    assert without(on_gpu, edits[0], edits[1:]) == without(parameters, edits[0], edits[1:]) == "recomposed"
    assert torch.equal(on_gpu["w"].cpu(), parameters["w"])


def test_columns_and_rows_of_one_matrix_meet_and_other_parameters_do_not() -> None:
    def at(*slices: ParameterSlice) -> WeightEdit:
        return WeightEdit(slices, {}, {})

    assert overlap(at(ParameterSlice("w", 0, 0, 2)), at(ParameterSlice("w", 1, 0, 2)))
    assert overlap(at(ParameterSlice("w")), at(ParameterSlice("w", 0, 4, 5)))
    assert not overlap(at(ParameterSlice("w", 0, 0, 2)), at(ParameterSlice("w", 0, 2, 4)))
    assert not overlap(at(ParameterSlice("w")), at(ParameterSlice("v")))
