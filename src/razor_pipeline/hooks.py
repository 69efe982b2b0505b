"""What Kedro calls around a run, which is one MLflow run (docs/decisions/0001-mlflow-hook.md) and ends with a table.

It has its folder alone and writes over its own models alone; files that it refuses are listed. Kedro reads this module
with its settings, whatever the command, so it imports nothing heavy.
"""

from __future__ import annotations

import fcntl
import inspect
import logging
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from razor_pipeline.params.base import without_passwords
from razor_pipeline.runner import Catalog, dataset_path

if TYPE_CHECKING:
    from razor_pipeline.tracking.run import TrackedRun
    from razor_pipeline.tracking.settings import TrackingSettings

logger = logging.getLogger(__name__)
LOCK = "pyproject.toml"  # a file that every project has; nothing is written to it
REQUESTS = "params:requests"
QUARANTINE = "quarantine"
TABLE_TEXT = "_text"  # datasets that hold a study's table for the terminal
PAUSE = 1.0  # seconds between two tries to take the folder


class AnotherRunError(ValueError):
    """Another run has the project's folder."""


class PlaceHooks:
    """A model that does not open, and what a run would wrongly write over, are refused before anything runs."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Ask the places of the models that the pipeline trains, and of the model that it reads what can be seen of it.

        Raises:
            DatasetError: one does not take what would be saved there, or the model does not open, or would be written
                over.
        """
        trained = pipeline.all_outputs()
        if "base_model" in pipeline.inputs():
            _check_not_in_the_way(catalog, trained)
            catalog["base_model"].check()
        if "base_model" in trained:
            own = catalog.load("params:data").path
            catalog["base_model"].check_takes(catalog.load("params:pretraining").family, own)
        if "retrained_models" in trained:
            catalog["retrained_models"].check_takes(catalog.load("params:retraining").groups)


def _check_not_in_the_way(catalog: Catalog, outputs: set[str]) -> None:
    source = Path(catalog["base_model"].source)
    model = source.resolve()
    for name in sorted(outputs):
        for place in _places(catalog, name):
            if model.is_relative_to(place.resolve()) or place.resolve().is_relative_to(model):
                raise DatasetError(
                    f"model.source '{source}' lies where this run writes its {name} ({place}), and would be written "
                    "over; copy it to another directory and name that one"
                )


def _places(catalog: Catalog, name: str) -> list[Path]:
    """What a run writes over to save a dataset; of the folder of gold standards its groups alone."""
    place = dataset_path(catalog, name)
    if place is None:
        return []
    if name != "retrained_models":
        return [place]
    return [place / group for group in catalog.load("params:retraining").groups]


class AloneHooks:
    """One run at a time works in a project's folder: two would take each other's targets and models."""

    def __init__(self) -> None:
        self._project = Path()
        self._held: TextIO | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Note where the project is."""
        self._project = context.project_path

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Take the folder, where the pipeline writes to it; requests wait for it as they wait for their line.

        Raises:
            AnotherRunError: another process has it.
        """
        self._give_back()  # one that was refused by another hook still holds it
        if not any(dataset_path(catalog, name) for name in pipeline.all_outputs()):
            return
        requests = REQUESTS in pipeline.inputs()
        until = time.monotonic() + (catalog.load(REQUESTS).wait_seconds if requests else 0.0)
        held = (self._project / LOCK).open()
        while not _taken(held):
            if time.monotonic() >= until:
                held.close()
                raise AnotherRunError(
                    f"another run works in {self._project}, and the two would write over each other; wait for it, or "
                    "run in a copy of the project"
                )
            time.sleep(PAUSE)
        self._held = held

    @hook_impl(wrapper=True)
    def after_pipeline_run(self) -> Generator[None, Any, Any]:
        """Give the folder back, behind the hooks that read its results.

        A process that ends without this gives it back as well.
        """
        try:
            return (yield)
        finally:
            self._give_back()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Give it back."""
        self._give_back()

    def _give_back(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None


def _taken(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class MlflowHooks:
    """Opens the run before the first step and closes it behind the last. Imports MLflow only then."""

    def __init__(self) -> None:
        self._run: TrackedRun | None = None
        self._settings: TrackingSettings | None = None
        self._project = Path()
        self._started: dict[str, float] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read the settings; a wrong one stops the run here."""
        from razor_pipeline.tracking.settings import read_settings

        self._project = context.project_path
        self._settings = read_settings(context.config_loader)

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Catalog) -> None:
        """Open the run."""
        from razor_pipeline.tracking.settings import quiet_mlflow

        quiet_mlflow()
        from razor_pipeline.tracking.run import TrackedRun

        if self._settings is not None:
            self._run = TrackedRun(self._settings, self._project, run_params, pipeline, catalog)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Start the clock."""
        self._started[node.name] = time.perf_counter()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Note the seconds of a step."""
        if self._run is not None:
            self._run.step_done(node.name, time.perf_counter() - self._started[node.name])

    @hook_impl
    def after_dataset_saved(self, node: Node) -> None:
        """Note them again of a step that computes while its outputs are saved, one after the other."""
        if inspect.isgeneratorfunction(node.func):
            self.after_node_run(node)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Write what came out; where that fails the run says so.

        A server that is gone by now does not fail the run: its results are on disk.
        """
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run.finish()
        except Exception as error:
            from razor_pipeline.tracking.store import is_lost

            if not is_lost(error):
                _fail(run, error)
                raise
            run.leave()
            logger.warning(
                "The tracking server was lost; results are on disk. When it is back, the same command writes them, "
                "and `kedro unlearning sync` what requests made."
            )

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Close the run with the reason."""
        run, self._run = self._run, None
        if run is not None:
            _fail(run, error)


class QuarantineHooks:
    """Whoever has to repair files needs all of their names, also where they are too many and the step saves nothing."""

    @hook_impl
    def on_node_error(self, error: Exception, catalog: Catalog) -> None:
        """Save the list where the catalog has it, and let the error name the place."""
        from razor_pipeline.manifest import QuarantineError

        if not isinstance(error, QuarantineError):
            return
        try:
            catalog.save(QUARANTINE, error.quarantine)
        except DatasetError as lost:  # it must not hide the error itself
            logger.warning("the list of refused files was not written (%s)", lost)
        else:
            error.written = dataset_path(catalog, QUARANTINE)


class ClosingTableHooks:
    """The last thing a person sees in the terminal, also when all steps of a run were up to date."""

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Catalog) -> None:
        """Read the summary, a training's report or a study's table back from the catalog and print it."""
        from rich.console import Console

        from razor_pipeline.reporting.closing import print_closing, print_training

        if "pretraining_report" in pipeline.all_outputs():
            trained = _shown(dataset_path(catalog, "base_model"))
            print_training(catalog.load("pretraining_report"), trained, Console())
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


def _fail(run: TrackedRun, error: Exception) -> None:
    """Note a failure; a store that is gone by now must not hide the failure itself."""
    try:
        run.fail(error)
    except Exception as lost:
        run.leave()
        logger.warning("the tracking store took no note of the failure (%s)", without_passwords(str(lost)))


def _shown(path: Path | None) -> Path | None:
    """Relative to where the person stands, if it lies below."""
    if path is None:
        return None
    whole = path.absolute()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole
