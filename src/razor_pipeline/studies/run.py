"""The identity study and the ablation: cells over targets, seeds and variants, and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from razor_pipeline.datasets.retrained import Retrained
from razor_pipeline.fingerprint import code_sha256, digest, environment
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params import AblationParams, RazorParams, SplittingParams, StudyParams
from razor_pipeline.splitting import split_samples
from razor_pipeline.studies.cells import Cell, Row, run_cells
from razor_pipeline.studies.identity import Subject, erase
from razor_pipeline.studies.tables import summarise

CELLS = Path("data/07_model_output/cells")
METRICS = (
    "edited_forget_accuracy",
    "retain_drop",
    "near_twin_drop",
    "general_drop",
    "retrieval_agreement",
    "membership_auc",
    "privacy_leakage",
    "retrained_auc",
    "relearn_steps",
    "retrained_relearn_steps",
    "relearn_margin",
    "edited_fraction",
    *(
        f"{s}_{m}"
        for s in ("int8", "int4", "nf4")
        for m in ("edited_forget_accuracy", "retain_drop", "membership_auc")
    ),
    "score_seconds",
    "edit_seconds",
)


def study(
    what: str,
    base: ModelFamily,
    manifest: pd.DataFrame,
    retrained: Sequence[Retrained],
    splitting: SplittingParams,
    params: StudyParams,
    variants: Mapping[str, RazorParams],
) -> pd.DataFrame:
    """A row per variant x target x seed, in that order.

    Args:
        what: name of the study.
        base: the model that knows the targets.
        manifest: the image-caption manifest.
        retrained: gold standards; the first that never saw a target serves as its reference.
        splitting: how samples are drawn.
        params: targets, seeds, schemes and attack.
        variants: name -> parameters of the method.
    """
    context = [
        code_sha256("razor_pipeline.studies.identity"),
        environment(),
        base.origin,
        [[sorted(gold.excluded), gold.model.origin] for gold in retrained],
        digest(sorted(manifest["sha256"])),
        splitting,
    ]
    cells = _cells(base, manifest, retrained, splitting, params, variants)
    return pd.DataFrame(run_cells(cells, CELLS, what, context))


def _cells(
    base: ModelFamily,
    manifest: pd.DataFrame,
    retrained: Sequence[Retrained],
    splitting: SplittingParams,
    params: StudyParams,
    variants: Mapping[str, RazorParams],
) -> Iterator[Cell]:
    for variant, razor in variants.items():
        for target in params.targets:
            gold = next((g.model for g in retrained if target in g.excluded), None)
            for seed in params.seeds:
                names = {"variant": variant, "target": target, "seed": seed}
                run = partial(_erase, names, base, manifest, gold, splitting, params, razor)
                key = [target, seed, razor, params.schemes, params.relearning]
                yield Cell(f"{variant}, {target}, seed {seed}", [variant, *key], run)


def _erase(
    names: Row,
    base: ModelFamily,
    manifest: pd.DataFrame,
    gold: ModelFamily | None,
    splitting: SplittingParams,
    params: StudyParams,
    razor: RazorParams,
) -> Row:
    samples = split_samples(manifest, [names["target"]], splitting, names["seed"])
    subject = Subject(base, samples, gold)
    return names | erase(subject, razor, names["seed"], params.schemes, params.relearning)


def table_of(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Every figure of the rows in short."""
    return summarise(rows, METRICS)


def variants_of(razor: RazorParams, params: AblationParams) -> dict[str, RazorParams]:
    """The default as ``full``, and every variant with its differences laid over the default.

    Raises:
        pydantic.ValidationError: a variant names a key that does not exist, or a value out of range.
    """
    base = razor.model_dump(mode="json")
    changed = {
        name: RazorParams.model_validate(_overlaid(base, diff)) for name, diff in params.variants.items()
    }
    return {"full": razor, **changed}


def _overlaid(base: Mapping[str, Any], diff: Mapping[str, Any]) -> dict[str, Any]:
    merged = deepcopy(dict(base))
    for key, value in diff.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _overlaid(merged[key], value) if nested else value
    return merged
