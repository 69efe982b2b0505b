"""The pages: each link within them leads to a file, and to a heading where it names one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK, HEADING = re.compile(r"\]\(([^)\s]+)\)"), re.compile(r"(?m)^#+ (.*)$")


def anchor(heading: str) -> str:
    """What a heading is linked as."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken(page: Path, text: str) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(text):
        file, _, name = link.partition("#")
        target = page.parent / file if file else page
        if link.startswith(("http:", "https:")):
            continue
        if not target.exists() or (name and name not in map(anchor, HEADING.findall(target.read_text()))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page, page.read_text()) == []


def test_a_link_to_a_missing_file_or_heading_is_found() -> None:
    text = "[a](docs/none.md) [b](docs/metrics.md#none) [c](#none) [d](docs/metrics.md) [e](https://example.org/x)"
    assert broken(ROOT / "README.md", text) == ["docs/none.md", "docs/metrics.md#none", "#none"]
