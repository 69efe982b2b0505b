"""Ids are opaque, and nothing hostile gets past them into a path, a tag or a log."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.param_errors import ParameterError
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests import ids

HOSTILE = [
    "",
    "Ada Moreau",
    "REQ-2026-0001/../../x",
    "../REQ-2026-0001",
    "REQ-2026-0001\n",
    "REQ-2026-\u0660\u0660\u0660\u0661",  # digits that are no ASCII
    "REQ-2026-{id}",
    "REQ-2026-0001'; DROP TABLE requests;--",
    "req-2026-0001",
    "REQ-2026-0001\x00",
    "REQ\u20112026\u20110001",  # hyphens that are none
    "REQ-2026-" + "1" * 10_000_000,
]
CHECKS: list[Callable[[str], str]] = [ids.request_id, ids.reference, ids.actor, ids.model]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("check", CHECKS)
def test_a_hostile_id_is_refused_in_a_short_plain_sentence(check: Callable[[str], str], text: str) -> None:
    with pytest.raises(ids.IdError) as refused:
        check(text)
    assert len(str(refused.value)) < 250
    assert str(refused.value).isprintable()
    assert str(refused.value).isascii() or "…" in str(refused.value)


def test_an_actor_from_the_parameters_is_held_to_the_same_rule() -> None:
    """It is written into the audit log."""
    assert ids.actor(RequestsParams.model_validate({"actor": "dpo-1"}).actor) == "dpo-1"
    for text in HOSTILE:
        with pytest.raises(ParameterError, match="actor"):
            RequestsParams.model_validate({"actor": text})


def test_the_examples_in_the_sentences_are_accepted() -> None:
    for check in CHECKS:
        with pytest.raises(ids.IdError) as refused:
            check("?")
        example = str(refused.value).rsplit(" ", 1)[1]
        assert check(example) == example


@given(st.text(max_size=40))
def test_what_is_accepted_is_a_safe_file_name_without_a_word(text: str) -> None:
    try:
        found = ids.request_id(text)
    except ids.IdError:
        return
    assert re.fullmatch(r"REQ-\d{4}-\d+", found, re.ASCII)


@given(st.from_regex(ids.REQUEST, fullmatch=True))
def test_every_id_of_the_pattern_is_accepted(text: str) -> None:
    assert ids.request_id(text) == text


@given(st.text(alphabet="ab./\\~ -_{}\x00\n", max_size=30))
def test_no_data_folder_leads_out_of_its_root(text: str) -> None:
    root = Path("/nowhere/requests")
    try:
        path = ids.data_folder(text, root)
    except ids.IdError:
        return
    assert path.resolve().is_relative_to(root)
    assert path != root


@pytest.mark.parametrize(
    "text", ["/etc", "a/../b", "..", ".", "a//b", "a/", "~/x", "a/.git", "a\\b", "x" * 300]
)
def test_odd_data_folders_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ids.IdError, match="refused"):
        ids.data_folder(text, tmp_path)


def test_symbolic_links_are_refused_above_and_inside(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    assert ids.data_folder("real", tmp_path) == tmp_path / "real"  # control
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ids.IdError, match="symbolic link"):
        ids.data_folder("link", tmp_path)
    (tmp_path / "real/passwd.png").symlink_to("/etc/passwd")
    with pytest.raises(ids.IdError, match="symbolic link"):
        ids.data_folder("real", tmp_path)
