"""The pipelines of the project by name."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

MAIN = ("dataset_preparation", "splitting", "scoring", "editing", "quantization", "evaluation", "reporting")


def register_pipelines() -> dict[str, Pipeline]:
    """Every pipeline, and ``__default__``: from a request to a report."""
    pipelines = find_pipelines(raise_errors=True)  # only the requested ones where a run names some
    main = [pipelines[name] for name in MAIN if name in pipelines]
    return {**pipelines, "__default__": sum(main, Pipeline([]))}
