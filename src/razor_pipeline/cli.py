"""The project's own commands: `kedro run` that resumes, `kedro edit`, `kedro unlearning`, `kedro tracking`.

Kedro finds the group ``cli`` here and prefers its commands to those of its own.
"""

from __future__ import annotations

import copy
import logging
import re
import sysconfig
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.startup import ProjectMetadata

from razor_pipeline.edit_command import edit
from razor_pipeline.requests.command import unlearning
from razor_pipeline.runtime_params import Reading, with_targets_as_texts

logger = logging.getLogger(__name__)
RUNNER = "razor_pipeline.runner.ResumingRunner"
KEDROS_PREFIX = re.compile(r"Parameter '([^']+)': Failed to instantiate \w+ for parameter '\1': ")


@click.group(name="razor_pipeline")
def cli() -> None:
    """Make a trained vision model forget, and show that it did."""


class Refusing(click.Command):
    """A command whose refusals are a sentence and not a page of stack."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run; what a user can put right is told without a traceback."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not _says_what_to_do(error):
                raise
            logger.debug("refused", exc_info=True)
            raise click.ClickException(KEDROS_PREFIX.sub(r"\1: ", str(error))) from error


class Running(Refusing):
    """`kedro run`, whose configuration tells paths from the project's folder."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run, from there alone: Kedro finds the project from its sub-folders too, and would look for models there."""
        project = getattr(ctx.obj, "project_path", None)
        if project is not None and not Path(project).samefile(Path.cwd()):
            raise click.ClickException(f"paths are relative to the project's folder; run this from {project}")
        return super().invoke(ctx)


def _says_what_to_do(error: Exception) -> bool:
    """Whether it is a refusal; a ``ValueError`` of another library is a fault to be traced."""
    from kedro.config import MissingConfigException
    from kedro.io import DatasetError
    from kedro.validation.exceptions import ParameterValidationError

    from razor_pipeline.core.gradients import NonFiniteError
    from razor_pipeline.families.image_metrics import ImageMetricsError
    from razor_pipeline.pipelines.scoring.processes import ProcessesError

    always = (DatasetError, ConnectionError, MissingConfigException, ParameterValidationError)
    if isinstance(error, (*always, NonFiniteError, ImageMetricsError, ProcessesError)):
        return True
    if isinstance(error, PermissionError) and error.filename:  # it names the file
        return True
    return isinstance(error, ValueError) and not _raised_by_a_library(error)


def _raised_by_a_library(error: Exception) -> bool:
    """Whether neither this package, Kedro nor the project at hand raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or str(trace.tb_frame.f_globals.get("__name__")).startswith((__package__, "kedro")):
        return False
    file = Path(trace.tb_frame.f_code.co_filename)
    libraries = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(file.is_relative_to(folder) for folder in libraries)


def _knowing(read: Reading) -> Reading:
    """Kedro's reading of ``--pipelines``, which asks for those that there are."""
    known = {
        "__default__",
        *(path.parent.name for path in (Path(__file__).parent / "pipelines").glob("*/pipeline.py")),
    }

    def reading(context: click.Context, option: click.Parameter, value: Any) -> Any:
        found = read(context, option, value)
        for name in found or ():
            if name not in known:
                near = get_close_matches(name, known, 1)
                meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
                raise click.BadParameter(f"'{name}' is no pipeline; {meant}")
        return found

    return reading


def _resuming(command: click.Command) -> click.Command:
    """Kedro's run command with our runner where none is named, and with targets that stay texts."""
    options = [copy.copy(option) for option in command.params]
    for option in options:
        if option.name == "runner":
            option.default = RUNNER
        if option.name == "params" and option.callback:
            option.callback = with_targets_as_texts(option.callback)
            option.multiple, option.default = True, None  # as a Makefile and its user may both say something
        if option.name == "pipelines" and option.callback:
            option.callback = _knowing(option.callback)
    return Running(command.name, callback=command.callback, params=options, help=command.help)


run = _resuming(kedro_run)
cli.add_command(run)
cli.add_command(edit)
cli.add_command(unlearning)


@cli.command(cls=Refusing)
@click.option(
    "--port", default=5000, show_default=True, help="Where the page is served, on this machine only."
)
@click.option("--env", help="Configuration whose runs are meant, e.g. enterprise.")
@click.pass_obj
def tracking(metadata: ProjectMetadata, port: int, env: str | None) -> None:
    """Serve a page of the tracked runs; where a server tracks them, print its address."""
    from kedro.framework.cli.utils import python_call

    from razor_pipeline.tracking.settings import project_settings

    uri = project_settings(Path(metadata.project_path), env).uri(Path(metadata.project_path))
    if uri.startswith("http"):  # a server has its page already
        click.echo(f"The runs are tracked on a server; open {uri} in a browser")
        return
    python_call("mlflow", ["server", "--host", "127.0.0.1", "--port", str(port), "--backend-store-uri", uri])
