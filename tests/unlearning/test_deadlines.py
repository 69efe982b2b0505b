"""Legal deadlines, by hand and by property."""

import calendar
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.requests.deadlines import Basis, DeadlineError, due, extended, plus_months

DAYS = st.dates(date(2018, 5, 25), date(2199, 12, 31))


@pytest.mark.parametrize(
    ("received", "first", "last"),
    [
        ("2026-01-15", "2026-02-15", "2026-04-15"),
        ("2026-01-31", "2026-02-28", "2026-04-30"),  # from the receipt: not 28 February and two months
        ("2028-01-31", "2028-02-29", "2028-04-30"),
        ("2026-11-30", "2026-12-30", "2027-02-28"),
        ("2026-12-31", "2027-01-31", "2027-03-31"),
    ],
)
def test_gdpr_counts_months_from_the_receipt(received: str, first: str, last: str) -> None:
    day = date.fromisoformat(received)
    assert due(day, Basis.GDPR) == date.fromisoformat(first)
    assert extended(day, Basis.GDPR, due(day, Basis.GDPR), day) == date.fromisoformat(last)


def test_ccpa_counts_45_days_and_as_many_again() -> None:
    day = date(2026, 1, 1)
    assert due(day, Basis.CCPA) == date(2026, 2, 15)
    assert extended(day, Basis.CCPA, date(2026, 2, 15), day) == date(2026, 4, 1)


@given(DAYS, st.integers(1, 40))
def test_a_month_later_is_the_same_date_or_the_months_last(day: date, months: int) -> None:
    later = plus_months(day, months)
    assert (later.year - day.year) * 12 + later.month - day.month == months
    assert later.day == min(day.day, calendar.monthrange(later.year, later.month)[1])


@given(DAYS, st.sampled_from([Basis.GDPR, Basis.CCPA]))
def test_an_extension_is_longer_and_is_told_in_time(day: date, basis: Basis) -> None:
    first = due(day, basis)
    assert day < first < extended(day, basis, first, first)
    with pytest.raises(DeadlineError, match="told before"):
        extended(day, basis, first, first + timedelta(days=1))


def test_other_bases_bring_their_own_date() -> None:
    day = date(2026, 1, 1)
    assert due(day, Basis.OTHER, date(2026, 5, 1)) == date(2026, 5, 1)
    for basis, given_date, words in (
        (Basis.OTHER, None, "add --due"),
        (Basis.OTHER, date(2025, 1, 1), "before the receipt"),
        (Basis.GDPR, date(2026, 5, 1), "follows from the law"),
    ):
        with pytest.raises(DeadlineError, match=words):
            due(day, basis, given_date)
