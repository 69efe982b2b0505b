"""A runner that resumes honestly: a step counts as done when its fingerprint and its outputs' contents say so.

"The file exists" never means "the step is done". After each node a small record is written: the fingerprint of what
went in and the content hash of what came out. A later run recomputes both, so a changed parameter, a changed line of
code, an altered or truncated file each make the step run again, and everything behind it.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from razor_pipeline.datasets.atomic import replace_file
from razor_pipeline.fingerprint import code_sha256, content_sha256, digest, environment

logger = logging.getLogger(__name__)
STATE = Path("data/.state")
ALWAYS = "always"
FORCE = "RAZOR_FORCE"


def dataset_path(catalog: CatalogProtocol, name: str) -> Path | None:
    """Where a dataset lies on disk; None for memory and parameters."""
    dataset = catalog.get(name)
    path = getattr(dataset, "path", None) or getattr(dataset, "_filepath", None)
    return Path(str(path)) if path is not None else None


class Plan:
    """Fingerprints of all nodes of a pipeline, and which of them are up to date."""

    def __init__(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self.catalog = catalog
        self.fingerprints: dict[str, str] = {}
        self.stale: list[Node] = []
        maker = {output: node.name for node in pipeline.nodes for output in node.outputs}
        needed_in_memory: set[str] = set()
        for node in pipeline.nodes:
            self.fingerprints[node.name] = self._fingerprint(node, maker)
        for node in reversed(pipeline.nodes):
            if self._must_run(node) or needed_in_memory & set(node.outputs):
                self.stale.append(node)
                needed_in_memory |= {i for i in node.inputs if i in maker and dataset_path(catalog, i) is None}
        self.stale.reverse()

    def _fingerprint(self, node: Node, maker: dict[str, str]) -> str:
        inputs: dict[str, Any] = {}
        for name in node.inputs:
            if name in maker:
                inputs[name] = self.fingerprints[maker[name]]
            elif name.startswith("params:") or name == "parameters":
                inputs[name] = self.catalog.load(name)
            else:
                path = dataset_path(self.catalog, name)
                inputs[name] = content_sha256(path) if path else None
        code = code_sha256(node.func.__module__)
        return digest([node.func.__qualname__, code, environment(), inputs, sorted(node.outputs)])

    def _must_run(self, node: Node) -> bool:
        if ALWAYS in node.tags or os.environ.get(FORCE):
            return True
        record = _read(record_path(node))
        if record.get("fingerprint") != self.fingerprints[node.name]:
            return True
        return any(self._sha256(output) != record["outputs"].get(output) for output in _persistent(node, self.catalog))

    def _sha256(self, name: str) -> str | None:
        path = dataset_path(self.catalog, name)
        return content_sha256(path) if path else None

    def record(self, node: Node) -> None:
        """Write down that a node is done."""
        outputs = {name: self._sha256(name) for name in _persistent(node, self.catalog)}
        with replace_file(record_path(node)) as beside:
            beside.write_text(json.dumps({"fingerprint": self.fingerprints[node.name], "outputs": outputs}, indent=1))


def record_path(node: Node) -> Path:
    """Where a node's record lies."""
    return STATE / os.environ.get("KEDRO_ENV", "base") / f"{node.name}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return record


def _persistent(node: Node, catalog: CatalogProtocol) -> list[str]:
    return [name for name in node.outputs if dataset_path(catalog, name) is not None]


class ResumingRunner(SequentialRunner):
    """Runs only what is not up to date, one node after the other."""

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        hook_manager: Any = None,
        run_id: str | None = None,
    ) -> None:
        plan = Plan(pipeline, catalog)
        done = len(pipeline.nodes) - len(plan.stale)
        if done:
            rest = f"running {', '.join(n.name for n in plan.stale)}" if plan.stale else "nothing is left to run"
            logger.info("%d of %d steps are up to date; %s. %s=1 runs all of them again.", done, len(pipeline.nodes), rest, FORCE)
        for node in plan.stale:
            record_path(node).unlink(missing_ok=True)
            super()._run(Pipeline([node]), catalog, hook_manager, run_id)
            plan.record(node)

