"""What decides a node's result, as one hash: its code, its libraries, its parameters and its inputs."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import platform
import subprocess
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGE = "razor_pipeline"
LIBRARIES = (
    "torch",
    "transformers",
    "diffusers",
    "torchao",
    "tokenizers",
    "numpy",
    "pandas",
    "pillow",
    "scikit-learn",
    "torchmetrics",
    "torch-fidelity",
)


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON; pydantic records count as their fields."""
    text = json.dumps(value, sort_keys=True, default=plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def plain(value: Any) -> Any:
    """What JSON has no form for: a pydantic record as its fields, all else as text."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


def content_sha256(path: Path) -> str | None:
    """sha256 of a file, or of a directory's relative names and contents; None where there is nothing."""
    if path.is_file():
        return _file_sha256(path)
    if not path.is_dir():
        return None
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest([(str(file.relative_to(path)), _file_sha256(file)) for file in files])


def _file_sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_as_of(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@lru_cache(maxsize=4096)
def _sha256_as_of(path: Path, *_state: int) -> str:
    """Read once while the file stays as it is: several steps ask for the hash of one large model."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_sha256(module: str, without: Iterable[str] = ()) -> str:
    """sha256 over the source of a module of this package and of every one it reaches by imports.

    Args:
        module: its dotted name.
        without: modules that do not count, nor what only they reach.
    """
    apart = set(without)
    seen: dict[str, str] = {}
    stack = [module]
    while stack:
        name = stack.pop()
        if name not in seen and name not in apart:
            seen[name], imported = _source(name)
            stack.extend(imported)
    return digest(seen)


@cache
def _source(module: str) -> tuple[str, tuple[str, ...]]:
    """A module's source hash, templates beside it included, and the modules of ours that it imports."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return "", ()
    path = Path(spec.origin)
    text = path.read_text(encoding="utf-8")
    templates = [template.read_text(encoding="utf-8") for template in sorted(path.parent.glob("*.j2"))]
    return digest([text, *templates]), tuple(_imports(ast.parse(text)))


def _imports(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(PACKAGE))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            yield node.module
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in names if _is_module(name))


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def commit(folder: Path) -> str | None:
    """The git commit that is checked out there; None where there is none, or no git."""
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


@cache
def environment() -> dict[str, str]:
    """Versions of Python and of the libraries that decide results; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
