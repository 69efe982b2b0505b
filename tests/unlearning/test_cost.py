"""What a batch costs beside separate runs: the arithmetic, and what is refused. The runs themselves take minutes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests.cost import Cost, measure


@given(st.floats(0.0, 1e3), st.floats(0.1, 1e3), st.integers(2, 50))
def test_what_a_run_costs_anyway_is_paid_once_by_a_batch(fixed: float, each: float, requests: int) -> None:
    found = Cost((fixed + each,) * requests, fixed + requests * each)
    assert found.expected(requests) == pytest.approx(found.ratio)
    assert found.expected(20) == pytest.approx((fixed + 20 * each) / (20 * (fixed + each)))


def test_a_batch_that_shares_nothing_gains_nothing() -> None:
    assert Cost((5.0, 7.0), 12.0).expected(20) == pytest.approx(1.0)  # control


def test_one_request_is_no_batch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"write A\|B"):
        measure(tmp_path, None, RequestsParams(), ["Ada Moreau"], tmp_path)
