"""Print the closing table when a run that reports has ended well, also when all its steps were up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from rich.console import Console

from razor_pipeline.reporting.closing import print_closing
from razor_pipeline.runner import dataset_path

TABLE_TEXT = "_text"  # datasets that hold a study's table for the terminal


class ClosingTableHooks:
    """The last thing a person sees in the terminal."""

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol[Any, Any]) -> None:
        """Read the summary, or a study's table, back from the catalog and print it."""
        for name in sorted(pipeline.all_outputs()):
            if name.endswith(TABLE_TEXT):
                print(catalog.load(name))
        if "summary" not in pipeline.all_outputs():
            return
        summary = catalog.get("summary")
        if summary is None or dataset_path(catalog, "summary") is None:
            return
        report, model = (_shown(dataset_path(catalog, name)) for name in ("report", "edited_model"))
        print_closing(summary.load(), report, model, Console())


def _shown(path: Path | None) -> Path | None:
    """Relative to where the person stands, if it lies below."""
    if path is None:
        return None
    whole = path.absolute()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole
