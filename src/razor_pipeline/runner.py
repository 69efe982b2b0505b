"""A runner that resumes honestly.

A step counts as done when its fingerprint and its outputs' contents say so; "the file exists" never means
that. After each step a small record is written beside its outputs: the fingerprint of what went in and the
content hash of what came out. A later run computes both again, so that a changed parameter, a changed line of
code and an altered or truncated file each make the step run again; the steps behind it follow where its
outputs changed.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any
from uuid import uuid4

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from razor_pipeline.datasets.atomic import replace_file
from razor_pipeline.fingerprint import code_sha256, content_sha256, digest, environment

logger = logging.getLogger(__name__)
RECORDS = ".done"
PARAMETERS = ("params:", "parameters")

Catalog = CatalogProtocol[Any, Any]


def dataset_path(catalog: Catalog, name: str) -> Path | None:
    """Where a dataset lies on disk; None for memory, parameters and what is fetched from elsewhere."""
    dataset = catalog.get(name)
    path = getattr(dataset, "path", None) or getattr(dataset, "_filepath", None)
    return Path(str(path)) if path is not None else None


def content(catalog: Catalog, name: str) -> Any:
    """What a dataset holds, in a form that can be hashed.

    The value of a parameter, the hash of a file or, where there is no file, how the dataset is described: for
    a model of a hub that is its id and pinned revision. Beside a directory of a model its family counts: several
    families open the same one. Parameters that point to files outside the project never equal what they were: the
    step reads the files again, and the steps behind it follow where its outputs changed. Of parameters that name
    directories of models, what these hold counts.
    """
    if name.startswith(PARAMETERS):
        value = catalog.load(name)
        if getattr(value, "reads_files", False):
            return uuid4().hex
        built_on = [content_sha256(Path(each)) for each in getattr(value, "directories", ())]
        return [value, built_on] if built_on else value
    dataset, path = catalog.get(name), dataset_path(catalog, name)
    several, family = getattr(dataset, "paths", None), getattr(dataset, "family", None)
    if several is not None:
        return [content_sha256(each) for each in several]
    if path is None:
        return repr(dataset)
    return [family, content_sha256(path)] if family else content_sha256(path)


def fingerprint(node: Node, catalog: Catalog, in_memory: dict[str, str]) -> str:
    """What decides a step's result: code, the datasets' code, libraries, and what goes in.

    Args:
        node: the step.
        catalog: its datasets.
        in_memory: fingerprint of the maker of each dataset that lies in memory only.
    """
    inputs = {name: in_memory.get(name) or content(catalog, name) for name in node.inputs}
    modules = {
        node.func.__module__,
        *(type(catalog.get(name)).__module__ for name in (*node.inputs, *node.outputs)),
    }
    code = {module: code_sha256(module) for module in modules}
    return digest([node.func.__qualname__, code, environment(), inputs, sorted(node.outputs)])


class Record:
    """The note of one finished step; none is kept for a step whose outputs all lie in memory.

    It needs no removal when the step starts again: it says what the outputs were, and once a step that fails
    or is killed has replaced one of them it no longer fits.
    """

    def __init__(self, node: Node, catalog: Catalog) -> None:
        found = {name: dataset_path(catalog, name) for name in node.outputs}
        self.outputs = {name: path for name, path in found.items() if path is not None}
        first = min(self.outputs.values(), default=None)
        # Beside its output, whose name it has: one step makes the models of several environments in one folder.
        self.path = first.parent / RECORDS / f"{node.name}-{first.name}.json" if first else None

    def vouches_for(self, fingerprint: str) -> bool:
        """Whether this step was done with this fingerprint, and its outputs are the bytes that it wrote."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8")) if self.path else None
        except (OSError, ValueError):
            return False
        return bool(kept) and kept == {"fingerprint": fingerprint, "outputs": self._hashes()}

    def write(self, fingerprint: str) -> None:
        """Note that the step is done; the last thing that happens in a step."""
        if self.path:
            with replace_file(self.path) as beside:
                beside.write_text(
                    json.dumps({"fingerprint": fingerprint, "outputs": self._hashes()}, indent=1)
                )

    def _hashes(self) -> dict[str, str | None]:
        return {name: content_sha256(path) for name, path in self.outputs.items()}


class ResumingRunner(SequentialRunner):
    """Runs only what is not up to date, one step after the other.

    Args:
        force: run every step (``kedro run --runner-params force=true``).
    """

    def __init__(self, is_async: bool = False, force: bool = False) -> None:
        super().__init__(is_async=is_async)
        self.force = force

    @property
    def _logger(self) -> logging.Logger:
        """Where Kedro's own lines about single steps go: with the rest of Kedro's, not among ours."""
        return logging.getLogger("kedro.runner")

    def _run(
        self, pipeline: Pipeline, catalog: Catalog, hook_manager: Any = None, run_id: str | None = None
    ) -> None:
        progress = _Progress(pipeline, catalog)
        for node in pipeline.nodes:
            if progress.waits(node):
                continue
            if not self.force and Record(node, catalog).vouches_for(progress.fingerprint(node)):
                logger.info("%s: up to date", node.name)
                continue
            for due in progress.due(node):
                logger.info("%s: running", due.name)
                started_from = progress.fingerprint(due)
                super()._run(Pipeline([due]), catalog, hook_manager, run_id)
                Record(due, catalog).write(started_from)
                progress.ran.add(due)


class _Progress:
    """What has run, and what must run first because its outputs lie in memory only."""

    def __init__(self, pipeline: Pipeline, catalog: Catalog) -> None:
        self.catalog = catalog
        self.maker = {
            output: node
            for node in pipeline.nodes
            for output in node.outputs
            if dataset_path(catalog, output) is None
        }
        self.ran: set[Node] = set()
        self.consumed = {name for node in pipeline.nodes for name in node.inputs}

    def waits(self, node: Node) -> bool:
        """Whether a step only fills the memory for later ones, and so runs when one of them is due."""
        return bool(node.outputs) and all(
            name in self.maker and name in self.consumed for name in node.outputs
        )

    def fingerprint(self, node: Node) -> str:
        """The step's fingerprint; inputs that lie in memory count as their makers' fingerprints."""
        in_memory = {name: self.fingerprint(self.maker[name]) for name in node.inputs if name in self.maker}
        return fingerprint(node, self.catalog, in_memory)

    def due(self, node: Node) -> list[Node]:
        """The step and, before it, the makers of inputs that are not in memory yet; none that ran already."""
        if node in self.ran:
            return []
        makers = [self.maker[name] for name in node.inputs if name in self.maker]
        return [*dict.fromkeys(due for maker in makers for due in self.due(maker)), node]
