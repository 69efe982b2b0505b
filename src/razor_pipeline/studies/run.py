"""Studies: cells over targets, seeds and variants, and their tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from razor_pipeline.fingerprint import code_sha256, environment
from razor_pipeline.manifest import manifest_sha256
from razor_pipeline.methods.registry import METHODS
from razor_pipeline.params.base import overlaid
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.razor import AcceptanceParams, RazorParams
from razor_pipeline.params.studies import AblationParams, StudyParams
from razor_pipeline.splitting import SplittingError, parse_targets, resolve_targets, split_samples
from razor_pipeline.studies.cells import Cell, Row, run_cells
from razor_pipeline.studies.figures import METRICS
from razor_pipeline.studies.tables import summarise

LISTS = {"targets", "seeds", "variants", "methods", "peers"}  # what is studied; a cell has its own of each
PARAMETERS = {params.__module__ for params in METHODS}  # their values are in a cell's key
CELLS = Path("data/07_model_output/cells")


class Subject(Protocol):
    """A model that a study works on, with all that its examination takes."""

    def identity(self) -> Any:
        """What decides its figures beside data and parameters."""

    def erase(self, samples: pd.DataFrame, method: AcceptanceParams, seed: int) -> Row:
        """Make the model forget the samples' target and examine it; the model is as it was on exit."""


@dataclass(frozen=True)
class Study:
    """Many targets and seeds on one base model.

    Attributes:
        name: of the study and of its parameters.
        subject: makes a row of figures from samples, the method's parameters and a seed.
        manifest: the image-caption manifest.
        splitting: how samples are drawn.
        params: targets and seeds.
        keep_going: whether a cell that fails is noted, and the others are computed all the same.
    """

    name: str
    subject: Subject
    manifest: pd.DataFrame
    splitting: SplittingParams
    params: StudyParams
    keep_going: bool = False

    def run(self, variants: Mapping[str, AcceptanceParams]) -> pd.DataFrame:
        """A row per variant x target x seed, in that order; ``variants`` maps a name to the method's parameters.

        The code of a method counts for its own cells alone: a change of one repeats none of its peers'.

        Raises:
            SplittingError: there are no targets, or one is not in the data; said before the first cell.
        """
        targets = studied(self.manifest, self.params.targets, self.name)
        context = [
            code_sha256(
                type(self.subject).__module__,
                without=PARAMETERS | {method.__module__ for method in METHODS.values()},
            ),
            code_sha256(split_samples.__module__),
            environment(),
            self.subject.identity(),
            manifest_sha256(self.manifest),
            self.splitting,
        ]
        return pd.DataFrame(
            run_cells(self._cells(variants, targets), CELLS, self.name, context, self.keep_going)
        )

    def _cells(self, variants: Mapping[str, AcceptanceParams], targets: Sequence[str]) -> Iterator[Cell]:
        params = self.params
        for variant, method in variants.items():
            for target, seed in product(targets, params.seeds):
                names = {"variant": variant, "target": target, "seed": seed}
                key = [
                    variant,
                    target,
                    seed,
                    method,
                    code_sha256(METHODS[type(method)].__module__, without=PARAMETERS),
                    params.model_dump(mode="json", exclude=LISTS),
                ]
                yield Cell(
                    f"{variant}, {target}, seed {seed}", key, partial(self._erase, names, method), names
                )

    def _erase(self, names: Row, method: AcceptanceParams) -> Row:
        samples = split_samples(self.manifest, [names["target"]], self.splitting, names["seed"])
        return names | self.subject.erase(samples, method, names["seed"])


def studied(manifest: pd.DataFrame, targets: Sequence[str], study: str) -> list[str]:
    """The labels that a study's targets mean.

    Raises:
        SplittingError: there are none, or one is not in the data; a study asks before its first cell.
    """
    if not targets:
        raise SplittingError(f"{study}.targets is empty; name what to forget, e.g. {study}.targets=A|B")
    return resolve_targets(manifest, parse_targets(targets))


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
        name: RazorParams.model_validate(overlaid(base, diff)) for name, diff in params.variants.items()
    }
    return {"full": razor, **changed}
