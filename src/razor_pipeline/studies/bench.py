"""What an edit costs, as ratios within one run: to the least that it could cost, to a peer, to fine-tuning.

Each measurement runs in a process of its own (:mod:`razor_pipeline.studies.measurement`); a cell is a size of model
with one target, or one value of an axis along which the cost grows.
"""

from __future__ import annotations

import multiprocessing
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pandas as pd
import torch

from razor_pipeline.families.published import PUBLISHED
from razor_pipeline.fingerprint import code_sha256, content_sha256, environment
from razor_pipeline.manifest import arranged, manifest_sha256
from razor_pipeline.params.base import overlaid
from razor_pipeline.params.data import DataParams, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import BenchParams, BenchSize
from razor_pipeline.splitting import split_samples
from razor_pipeline.studies import measurement
from razor_pipeline.studies.cells import Cell, Row, run_cells
from razor_pipeline.studies.measurement import FLOAT, Bench, Measured
from razor_pipeline.studies.run import CELLS, studied

SEED = 0
CONTEXT = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Costs:
    """The study.

    Attributes:
        manifest: rows to draw samples from.
        splitting: of what a size says nothing of.
        razor: parameters of the edit.
        params: sizes and axes.
        evaluation: parameters of the examination.
        judges: of drawings, name -> directory.
    """

    manifest: pd.DataFrame
    splitting: SplittingParams
    razor: RazorParams
    params: BenchParams
    evaluation: EvaluationParams
    judges: Mapping[str, str]

    def rows(self) -> pd.DataFrame:
        """A row per cell: ``size, family, axis, value, target``, ratios, counts and bytes.

        Raises:
            SplittingError: a target is not in the data.
        """
        targets = studied(self.manifest, self.params.targets, "bench")
        context = [
            code_sha256(__name__),
            environment(),
            manifest_sha256(self.manifest),
            self.splitting,
            self.params.slug,
            self.params.epochs,
            machine(),
        ]
        return pd.DataFrame(run_cells(self._cells(targets), CELLS, "bench", context))

    def _cells(self, targets: Sequence[str]) -> Iterator[Cell]:
        wanted = self._wanted()
        for name in (name for name in self.params.sizes if name in wanted):
            size = self.params.sizes[name]
            examined = [self.evaluation, dict(self.judges)] if size.evaluate else []
            key = [name, size.model_dump(exclude={"targets"}), _weights(size), self.razor, *examined]
            for target in targets[: size.targets]:
                yield Cell(f"{name}, {target}", [*key, target], partial(self._size, name, size, target))
        for axis in (axis for axis in self.params.growth if axis in wanted):
            for value in self.params.growth[axis]:
                size = self.params.sizes[self.params.growth_of]
                grown = [axis, value, size, _weights(size), self.razor, targets]
                yield Cell(f"{axis} {value}", grown, partial(self._grown, axis, value, size, targets))

    def _wanted(self) -> Collection[str]:
        known = {*self.params.sizes, *self.params.growth}
        wanted = {name.strip() for name in self.params.only.split("|") if name.strip()}
        if unknown := sorted(wanted - known):
            raise ValueError(
                f"bench.only names '{unknown[0]}', which is neither a size nor an axis; choose among "
                f"{', '.join(sorted(known))}"
            )
        return wanted or known

    def _bench(self, size: BenchSize, targets: Sequence[str], razor: RazorParams) -> Bench:
        samples = drawn(self.manifest, targets, size, self.splitting)
        return Bench(
            size,
            samples,
            RazorParams.model_validate(overlaid(razor.model_dump(mode="json"), size.razor)),
            self.params.slug,
            self.evaluation,
            self.judges,
            SEED,
        )

    def _size(self, name: str, size: BenchSize, target: str) -> Row:
        bench = self._bench(size, [target], self.razor)
        optional = {"slug": size.slug, "finetune": size.finetune}
        wanted = ["edit", "bare", *(what for what, measured in optional.items() if measured)]
        if size.evaluate:
            wanted.insert(0, "evaluate")  # which refuses at once what it cannot examine
        found = {what: in_own_process(what, bench) for what in wanted}
        learnt = int((self.manifest["split"].eq("edit") & self.manifest["role"].ne("reference")).sum())
        names = {"size": name, "family": _family(size), "axis": "size", "value": None, "target": target}
        return names | ratios(found, self.params.epochs, learnt)

    def _grown(self, axis: str, value: int, size: BenchSize, targets: Sequence[str]) -> Row:
        targets = targets[: value if axis == "targets" else 1]
        changed = size.model_copy(update={axis: value}) if axis in ("retain", "forget") else size
        razor = self.razor.model_copy(update={"components": value}) if axis == "components" else self.razor
        bench = self._bench(changed, targets, razor)
        edit, bare = in_own_process("edit", bench), in_own_process("bare", bench)
        return {
            "size": self.params.growth_of,
            "family": _family(size),
            "axis": axis,
            "value": value,
            "target": "|".join(targets),
            # In passes of one sample, so that rows whose passes differ compare.
            "score_edit_in_samples": edit["seconds"] / (bare["seconds"] / bare["samples"]),
            "samples": bare["samples"],
            "peak_bytes": edit["peak_bytes"],
            "evaluations": edit["evaluations"],
            "repairs": edit["repairs"],
        }


def _family(size: BenchSize) -> str:
    """Of a directory it is said; a published size has its own."""
    return str(PUBLISHED[size.model]["family"]) if size.model in PUBLISHED else size.family


def _weights(size: BenchSize) -> str | None:
    """Hash of a directory; a published size's weights are random."""
    return content_sha256(Path(size.model))


def machine() -> str:
    """The accelerator by its name, or the kind of processor: what one takes says nothing of another."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()


def ratios(found: dict[str, Measured], epochs: int, learnt: int) -> Row:
    """The figures of one size.

    Args:
        found: what was measured, by name.
        epochs: of the fine-tune.
        learnt: samples that the model was trained on, which a fine-tune may go through.
    """
    edit, bare = found["edit"], found["bare"]
    again = edit["evaluations"] - 1.0  # behind the first, that of the base
    limit = bare["seconds"] + bare["first_validation_seconds"] + again * bare["validation_seconds"]
    floor = FLOAT * (bare["weights"] + bare["candidate_weights"]) + bare["activation_bytes"]
    row: Row = {
        "score_edit_over_limit": edit["seconds"] / limit,
        "score_edit_over_pass": edit["seconds"] / bare["seconds"],
        "score_over_pass": edit["score_seconds"] / bare["seconds"],
        "edit_over_pass": edit["edit_seconds"] / bare["seconds"],
        "search_share": edit["searched"] * bare["validation_seconds"] / edit["seconds"],
        "peak_memory_over_floor": edit["peak_bytes"] / floor,
        "validation_over_pass": bare["validation_seconds"] / bare["seconds"],
        "peak_bytes": edit["peak_bytes"],
        "floor_bytes": floor,
    }
    row |= {name: edit[name] for name in ("evaluations", "searched", "repairs")}
    counts = ("samples", "validated", "weights", "candidate_weights", "activation_bytes", "batch")
    row |= {name: bare[name] for name in counts}
    if "slug" in found:
        row["score_edit_over_slug"] = edit["seconds"] / found["slug"]["seconds"]
        row["slug_evaluations"] = found["slug"]["evaluations"]
    if "finetune" in found:
        epoch = found["finetune"]["step_seconds"] / found["finetune"]["batch"] * epochs
        row["finetune_over_score_edit"] = epoch * bare["samples"] / edit["seconds"]
        row["finetune_all_over_score_edit"] = epoch * learnt / edit["seconds"]
    if "evaluate" in found:
        row["evaluate_over_pass"] = found["evaluate"]["seconds"] / bare["seconds"]
    if "device_peak_bytes" in edit:
        row |= {"device_peak_bytes": edit["device_peak_bytes"], "score_edit_seconds": edit["seconds"]}
    return row


def drawn(
    manifest: pd.DataFrame, targets: Sequence[str], size: BenchSize, splitting: SplittingParams
) -> pd.DataFrame:
    """The samples of a task of that size; see :class:`BenchSize`."""
    rows = arranged(manifest, DataParams(captions=size.captions)) if size.captions != "given" else manifest
    if size.classes is not None:
        own = rows[rows["domain"].isin(rows.loc[rows["label"].isin(targets), "domain"])]
        others = sorted(set(own.loc[own["role"] == "retain", "label"]) - set(targets))
        kept = {*targets, *others[: size.classes - len(targets)]}
        rows = own[own["label"].isin(kept) | own["role"].eq("reference")]
    limits = {
        "max_retain_samples": size.retain,
        "max_validation_samples": size.validation and 4 * size.validation,
    }
    counts = {name: limit for name, limit in limits.items() if limit is not None}
    samples = split_samples(rows, list(targets), splitting.model_copy(update=counts), SEED)
    return _thinned(samples, size)


def _thinned(samples: pd.DataFrame, size: BenchSize) -> pd.DataFrame:
    """The first so many samples of every target and of all never-seen classes; what is for tests if it is examined."""
    role, split = samples["role"], samples["split"]
    group = role.where(role != "forget", "forget " + samples["label"])
    place = samples.groupby([group, split]).cumcount()
    limits = (
        (role.eq("forget") & split.eq("edit"), size.forget),
        (role.eq("forget") & split.eq("validation"), size.validation),
        (role.eq("reference") & split.eq("validation"), size.reference),
    )
    kept = split.ne("test") | size.evaluate
    for rows, limit in limits:
        if limit is not None:
            kept &= ~rows | (place < limit)
    return samples[kept].reset_index(drop=True)


def in_own_process(what: str, bench: Bench) -> Measured:
    """Measure in a fresh process, so that one measurement leaves no memory to another.

    Raises:
        RuntimeError: the process ended without a result.
    """
    CONTEXT.set_forkserver_preload([measurement.__name__])
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_child, args=(sender, what, bench))
    process.start()
    sender.close()
    try:
        found: Measured = receiver.recv()
    except EOFError as error:
        raise RuntimeError(
            f"the measurement of '{what}' ended without a result; its error is above"
        ) from error
    process.join()
    return found


def _child(sender: Connection, what: str, bench: Bench) -> None:
    sender.send(measurement.measure(what, bench))
