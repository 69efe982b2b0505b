"""The page of parameters says what the records say."""

from pathlib import Path

import yaml

from razor_pipeline.params.page import GROUPS, page

ROOT = Path(__file__).parents[1]
ALONE = {"target", "seed", "scenario", "invocation"}  # no groups


def test_the_page_is_made_from_the_records_as_they_are() -> None:
    """After a change: ``python -m razor_pipeline.params.page > docs/parameters.md``."""
    assert (ROOT / "docs/parameters.md").read_text() == page()


def test_every_group_of_the_configuration_is_on_the_page() -> None:
    named = {
        key
        for path in (ROOT / "conf").glob("*/parameters*.yml")
        for key in yaml.safe_load(path.read_text()) or {}
    }
    assert {key for key in named if not key.startswith("_")} - ALONE == set(GROUPS)


def test_defaults_within_a_record_are_those_that_it_is_given() -> None:
    """A portrait has 60 images to edit by default, a class of a split 40."""
    assert "| `portraits.edit` | `60` |" in page()
    assert "| `split_counts.edit` | `40` |" in page()
