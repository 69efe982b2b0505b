"""Choose what is forgotten and what is kept."""

from __future__ import annotations

from typing import Any

import pandas as pd

from razor_pipeline import splitting as science
from razor_pipeline.datasets.sources import listing
from razor_pipeline.families.drawing_prompts import cells_of
from razor_pipeline.families.images import check_sizes
from razor_pipeline.param_errors import ParameterError
from razor_pipeline.params.data import AtelierParams, DataParams, SplittingParams


def check_request(target: Any, data: DataParams, atelier: AtelierParams, seed: Any) -> list[str]:
    """The labels to forget; a wrong request is refused here, before an image is made or read.

    ``target`` is a text or a list, and ``seed`` a number: Kedro validates neither.

    Raises:
        ParameterError: the seed is no whole number from 0 on.
        SplittingError: a target is unknown, or no text.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise ParameterError(f"seed is {seed!r}, but it must be a whole number from 0 on")
    return science.resolve_targets(listing(data, atelier), science.parse_targets(target), data.concept)


def split_samples(
    manifest: pd.DataFrame,
    targets: list[str],
    splitting: SplittingParams,
    seed: int,
    drawn_size: int | None,
    evaluation_prompts: list[str],
) -> pd.DataFrame:
    """The rows that this run uses, with roles; what a model that draws can't take or be asked is refused here.

    Raises:
        SplittingError: the manifest cannot serve the request.
        ValueError: an image is not square, or smaller than what the model draws.
        PromptError: the prompts to examine it by name nothing of the data; see :func:`cells_of`.
    """
    samples = science.split_samples(manifest, targets, splitting, seed)
    if drawn_size is not None:
        check_sizes(samples, drawn_size)
    if evaluation_prompts:
        cells_of(samples, evaluation_prompts)
    return samples
