"""The dashboard in a real browser: it shows what is urgent, runs and loads nothing, and escapes what is hostile."""

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from reporting.conftest import browser  # noqa: F401 - a fixture
from reporting.test_browser import outside, overflow, visit

from razor_pipeline.requests.dashboard import render_dashboard
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.submission import submit
from razor_pipeline.requests.tables import Champion, Version
from unlearning.conftest import Clock, intake

HOSTILE = "<script>document.title='boom'</script><img src=https://example.invalid/x.png>"


@pytest.fixture
def page(lite: Ledger, clock: Clock, tmp_path: Path) -> str:
    for number in range(3):
        submit(lite, intake(f"target {number}", received="2026-01-02"), "ops-1")
    with lite.writing() as session:
        lite.move(session, lite.get("REQ-2026-0001", session), Status.REJECTED, "dpo-1", HOSTILE)
        for number, accuracy in enumerate((None, 0.99, 0.97, 0.98)):
            session.add(
                Version(
                    model="clip",
                    number=number,
                    parent=number - 1 if number else None,
                    path="x",
                    weights="0" * 64,
                    edits="[]",
                    retain_accuracy=accuracy,
                )
            )
        session.add(Champion(model="clip", number=3))
    clock.now += timedelta(days=10)
    return render_dashboard(lite, tmp_path / "dashboard.html", tmp_path / "models")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_clean_on_phone_and_desktop(
    browser: Browser,  # noqa: F811
    page: str,
    tmp_path: Path,
    width: int,
    scheme: str,
) -> None:
    found = visit(browser, page, tmp_path, width, scheme)
    assert found.complaints == []
    assert outside(found) == []
    assert overflow(found) == 0
    assert found.page.title() == "Requests: 2 open, 2 overdue"
    assert found.page.locator("svg polyline").count() == 1
    assert found.page.locator("td.overdue").count() == 2
    assert set(found.page.locator("td[data-name=basis]").all_inner_texts()) == {"gdpr"}


def test_a_hostile_reason_is_text(browser: Browser, page: str, tmp_path: Path) -> None:  # noqa: F811
    found = visit(browser, page, tmp_path, 1280, "light")
    assert found.page.get_by_text("document.title='boom'").is_visible()
    assert found.page.locator("main script").count() == 0
    spoilt = page.replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'")  # control: not escaped
    assert visit(browser, spoilt, tmp_path, 1280, "light").complaints != []


def test_a_version_that_could_not_be_measured_does_not_show_another_s_figure(
    lite: Ledger, page: str, tmp_path: Path
) -> None:
    assert "0.980 of version 3, lowest 0.970." in page  # control
    with lite.writing() as session:
        unmeasured = Version(
            model="clip", number=4, parent=3, path="x", weights="0" * 64, edits="[]", retain_accuracy=None
        )
        session.add(unmeasured)
        session.get_one(Champion, "clip").number = 4
    again = render_dashboard(lite, tmp_path / "dashboard.html", tmp_path / "models")
    assert "0.980 of version 3" in again
    assert "Version 4, which serves, has not been measured." in again


def test_no_name_is_on_the_page(page: str) -> None:
    assert "target 1" not in page
    assert "REQ-2026-0002" in page
