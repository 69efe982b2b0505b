"""The page in a real browser: what a person would see go wrong."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.reporting.page import render_report
from razor_pipeline.reporting.verdict import judge

from .outputs import TARGET, run_record, samples
from .studies import study_pages

BROKEN = (
    "<img src='https://example.invalid/x.png'><script>throw new Error('boom')</script>"
    "<div style='width:2000px'>x</div>"
)
CSP = 'http-equiv="Content-Security-Policy"'
LONG = "A" * 90
STUDIES = ("leaderboard", "robustness", "bench")


@dataclass
class Visit:
    """One page in one window, with what went wrong in it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def html() -> str:
    run = run_record()
    return render_report(run, judge(run, ReportingParams()), RazorParams())


def visit(browser: Browser, html: str, folder: Path, width: int, scheme: str) -> Visit:
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    found = Visit(page)

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.complaints.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_load_state("load")
    return found


def outside(found: Visit) -> list[str]:
    return [url for url in found.requests if not url.startswith(("file:", "data:"))]


def overflow(found: Visit) -> int:
    return int(
        found.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )


def broken_images(found: Visit) -> int:
    script = """async () => {
  let bad = 0;
  for (const image of document.images) {
    try { await image.decode() } catch { bad += 1 }
    if (!image.naturalWidth) bad += 1;
  }
  return bad; }"""
    return int(found.page.evaluate(script))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_is_clean_on_phone_tablet_and_desktop(
    browser: Browser, html: str, tmp_path: Path, width: int, scheme: str
) -> None:
    found = visit(browser, html, tmp_path, width, scheme)
    assert found.complaints == []
    assert outside(found) == []
    assert overflow(found) == 0
    assert broken_images(found) == 0
    assert found.page.title().startswith("Forgotten: Ada Moreau")


def test_the_control_page_has_each_of_these_faults(browser: Browser, html: str, tmp_path: Path) -> None:
    """Without its policy, a foreign image, a script error and a wide block must all be noticed."""
    spoilt = html.replace(CSP, 'name="off"').replace("<main>", f"<main>{BROKEN}")
    found = visit(browser, spoilt, tmp_path, 390, "light")
    assert any("boom" in text for text in found.complaints)
    assert outside(found) == ["https://example.invalid/x.png"]
    assert overflow(found) > 0
    assert broken_images(found) > 0


def test_the_policy_stops_foreign_requests_and_scripts(browser: Browser, html: str, tmp_path: Path) -> None:
    found = visit(browser, html.replace("<main>", f"<main>{BROKEN}"), tmp_path, 390, "light")
    assert not any("boom" in text for text in found.complaints)
    assert any("Content Security Policy" in text for text in found.complaints)


def test_dark_and_light_differ_and_both_can_be_read(browser: Browser, html: str, tmp_path: Path) -> None:
    for scheme in ("light", "dark"):
        found = visit(browser, html, tmp_path, 1280, scheme)
        assert lowest_contrast(found) >= 4.5, scheme
    backgrounds = {
        visit(browser, html, tmp_path, 1280, scheme).page.evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert len(backgrounds) == 2


def lowest_contrast(found: Visit) -> float:
    """The lowest WCAG contrast of any text with the background that it stands on."""
    return float(
        found.page.evaluate(
            """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92
    : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  let lowest = 21;
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(ground(e));
    lowest = Math.min(lowest, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return lowest; }"""
        )
    )


def test_a_long_name_without_spaces_does_not_widen_the_page(browser: Browser, tmp_path: Path) -> None:
    run = run_record(samples=samples().replace({"label": {TARGET: LONG}}))
    html = render_report(run, judge(run, ReportingParams()), RazorParams())
    assert overflow(visit(browser, html, tmp_path, 390, "light")) == 0


def test_details_open_within_the_width_of_a_phone(browser: Browser, html: str, tmp_path: Path) -> None:
    found = visit(browser, html, tmp_path, 390, "dark")
    for summary in found.page.query_selector_all("summary"):
        summary.click()
    assert overflow(found) == 0
    assert found.page.get_by_text("zero-step").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("study", STUDIES)
def test_the_page_of_a_study_is_clean_on_phone_tablet_and_desktop(
    browser: Browser, tmp_path: Path, study: str, scheme: str
) -> None:
    found = visit(browser, study_pages()[study], tmp_path, 390, scheme)
    for width in (390, 768, 1280):
        found.page.set_viewport_size({"width": width, "height": 844})
        assert overflow(found) == 0, width
    assert found.complaints == []
    assert outside(found) == []
    assert broken_images(found) == 0
    assert lowest_contrast(found) >= 4.5
    background = found.page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert max(background) < 64 if scheme == "dark" else min(background) > 192


@pytest.mark.parametrize("study", STUDIES)
def test_a_figure_scrolls_in_its_box_on_a_phone_and_keeps_its_size(
    browser: Browser, tmp_path: Path, study: str
) -> None:
    """At half its pixels and more, labels of 9 points are 10 pixels high; control: a desktop shows it whole."""
    shown = """() => {
  const image = document.querySelector(".figure img"), box = document.querySelector(".figure");
  return [image.getBoundingClientRect().width / image.naturalWidth, box.scrollWidth - box.clientWidth]; }"""
    found = visit(browser, study_pages()[study], tmp_path, 390, "light")
    size, beyond = found.page.evaluate(shown)
    assert size >= 0.5
    assert beyond > 0
    found.page.set_viewport_size({"width": 1280, "height": 844})
    assert found.page.evaluate(shown)[1] == 0


@pytest.mark.parametrize("study", STUDIES)
def test_the_figure_of_a_study_is_dark_in_the_dark(browser: Browser, tmp_path: Path, study: str) -> None:
    drawn = {}
    for scheme in ("light", "dark"):
        found = visit(browser, study_pages()[study], tmp_path, 1280, scheme)
        drawn[scheme] = found.page.evaluate("document.querySelector('.figure img').currentSrc")
    assert drawn["light"] != drawn["dark"]
