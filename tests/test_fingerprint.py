"""Fingerprints: what decides a result changes the hash, and nothing else does."""

from __future__ import annotations

import importlib
import os
import sys

import pytest

from razor_pipeline import fingerprint
from razor_pipeline.fingerprint import code_sha256, content_sha256, digest, environment
from razor_pipeline.params.razor import RazorParams, ScoringParams


def test_a_changed_parameter_changes_the_hash_however_deep():
    base = RazorParams()
    deep = RazorParams(scoring=ScoringParams(alpha=0.25))
    assert digest(base) != digest(deep)
    assert digest(base) == digest(RazorParams(scoring=ScoringParams()))
    assert digest(base) == digest(base.model_dump(mode="json"))


def test_the_order_of_keys_does_not_count_and_the_order_of_lists_does():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (None, "null"), (True, 1), ("a", ["a"]), ({}, [])])
def test_values_that_look_alike_differ(one, other):
    assert digest(one) != digest(other)


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "model" / "part").mkdir(parents=True)
    (tmp_path / "model" / "part" / "a.bin").write_bytes(b"\x00" * 3000)
    (tmp_path / "model" / "config.json").write_text("{}")
    return tmp_path / "model"


def test_one_flipped_byte_changes_the_hash(directory):
    before, file = content_sha256(directory), directory / "part" / "a.bin"
    data = bytearray(file.read_bytes())
    data[1234] ^= 1
    file.write_bytes(data)
    assert content_sha256(directory) != before
    data[1234] ^= 1
    file.write_bytes(data)
    assert content_sha256(directory) == before


def test_a_file_added_removed_or_renamed_changes_the_hash(directory):
    seen = [content_sha256(directory)]
    (directory / "new.txt").write_text("")
    seen.append(content_sha256(directory))
    (directory / "new.txt").rename(directory / "newer.txt")
    seen.append(content_sha256(directory))
    (directory / "config.json").unlink()
    seen.append(content_sha256(directory))
    assert len(set(seen)) == len(seen)


def test_times_permissions_and_the_place_do_not_count(directory):
    before = content_sha256(directory)
    os.utime(directory / "config.json", (0, 0))
    (directory / "config.json").chmod(0o600)
    moved = directory.rename(directory.with_name("elsewhere"))
    assert content_sha256(moved) == before


def test_a_large_file_is_hashed_whole(tmp_path):
    file = tmp_path / "large"
    data = bytearray((2 << 20) + 5)
    file.write_bytes(data)
    before = content_sha256(file)
    data[-1] = 1
    file.write_bytes(data)
    assert content_sha256(file) != before


def test_nothing_there_is_no_hash_and_empty_is_one(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert content_sha256(tmp_path / "nothing") is None
    assert content_sha256(tmp_path / "empty") is not None


@pytest.fixture
def package(tmp_path, monkeypatch):
    """``top`` imports ``middle``, which imports ``deep`` inside a function; ``aside`` is alone."""
    root = tmp_path / "razor_pipeline_probe"
    root.mkdir()
    name = root.name
    files = {
        "__init__": "",
        "top": f"from {name}.middle import go\n",
        "middle": f"import math\n\ndef go():\n    from {name} import deep\n    return deep\n",
        "deep": "x = 1\n",
        "aside": "y = 1\n",
    }
    for module, text in files.items():
        (root / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fingerprint, "PACKAGE", name)

    def sha(module: str = "top", without: tuple[str, ...] = ()) -> str:
        """As a new process would see it."""
        importlib.invalidate_caches()
        fingerprint._source.cache_clear()
        return code_sha256(f"{name}.{module}", without={f"{name}.{apart}" for apart in without})

    yield root, sha
    fingerprint._source.cache_clear()
    for module in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[module]


@pytest.mark.parametrize("module", ["top", "middle", "deep"])
def test_changed_code_changes_the_hash_wherever_imports_reach(package, module):
    root, sha = package
    before = sha()
    with (root / f"{module}.py").open("a") as file:
        file.write("z = 2\n")
    assert sha() != before


def test_code_that_is_not_imported_does_not_count(package):
    root, sha = package
    before = sha()
    (root / "aside.py").write_text("y = 2\n")
    assert sha() == before
    assert sha("aside") != before


def test_what_is_left_out_does_not_count_nor_what_only_it_reaches(package):
    root, sha = package
    before = sha(without=("middle",))
    for module in ("middle", "deep"):
        (root / f"{module}.py").write_text(f"from {root.name} import deep\nz = 3\n")
    assert sha(without=("middle",)) == before
    (root / "top.py").write_text(f"from {root.name} import middle, deep\n")
    reached = sha(without=("middle",))
    (root / "deep.py").write_text("z = 4\n")
    assert sha(without=("middle",)) != reached  # control: reached by another way, it counts


def test_real_nodes_reach_the_science_they_run():
    """Control on the real package: a node's hash is not that of its file alone."""
    fingerprint._source.cache_clear()
    stack, seen = ["razor_pipeline.pipelines.scoring.nodes"], set()
    while stack:
        module = stack.pop()
        if module not in seen:
            seen.add(module)
            stack.extend(fingerprint._source(module)[1])
    assert {"razor_pipeline.core.scoring", "razor_pipeline.core.gradients"} <= seen
    assert "razor_pipeline.atelier.portraits" not in seen


def test_the_environment_names_what_decides_results():
    found = environment()
    assert {"python", "torch", "transformers", "numpy"} <= set(found)
    assert all(found.values())
