"""The scoring step in several processes: what starts them, and what each of them does.

This process writes the task into a folder, starts ``torch.distributed.run`` and reads the result, which process 0 has
written. It stays out of the group itself, so the catalog and the tracked run have one writer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from razor_pipeline.core.processes import StoppedError, joined
from razor_pipeline.datasets.files import JSONDataset, ParquetDataset, TensorsDataset
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.methods.saved_scores import ScoringResult, scoring_result
from razor_pipeline.params.razor import RazorParams, ScoringParams

TASK, SAMPLES = "task.json", "samples.parquet"
SCORES, GRADIENTS, REPORT = "scores.parquet", "gradients.safetensors", "report.json"
SAID = "said_by_{}.txt"


class ProcessesError(RuntimeError):
    """The processes of the scoring step did not end well; nothing was written."""


def scored_in_processes(
    model: ModelFamily, samples: pd.DataFrame, params: RazorParams, seed: int, anchors: Mapping[str, str]
) -> ScoringResult:
    """What :func:`razor_pipeline.methods.saved_scores.scoring_result` returns, by so many processes.

    Raises:
        ProcessesError: one of them failed or was killed; says what it said.
    """
    place = params.scoring.process_folder
    if place is not None:
        Path(place).mkdir(parents=True, exist_ok=True)
        return _run(Path(place), model, samples, params, seed, anchors)
    with TemporaryDirectory(prefix="scoring_") as folder:
        return _run(Path(folder), model, samples, params, seed, anchors)


def _run(
    folder: Path,
    model: ModelFamily,
    samples: pd.DataFrame,
    params: RazorParams,
    seed: int,
    anchors: Mapping[str, str],
) -> ScoringResult:
    for name in (SCORES, GRADIENTS, REPORT):
        (folder / name).unlink(missing_ok=True)
    for said in folder.glob(SAID.format("*")):
        said.unlink()
    ParquetDataset(filepath=str(folder / SAMPLES)).save(samples)
    task = {
        "family": model.name,
        "origin": model.origin,
        "device": model.device.type,  # the number is each process's own
        "razor": params.model_dump(mode="json"),
        "seed": seed,
        "anchors": dict(anchors),
    }
    JSONDataset(filepath=str(folder / TASK)).save(task)
    ended = subprocess.run(command(folder, params.scoring), check=False)
    if ended.returncode != 0 or not (folder / REPORT).exists():
        raise ProcessesError(_what_was_said(folder, ended.returncode))
    return (
        ParquetDataset(filepath=str(folder / SCORES)).load(),
        TensorsDataset(filepath=str(folder / GRADIENTS)).load(),
        JSONDataset(filepath=str(folder / REPORT)).load(),
    )


def command(folder: Path, params: ScoringParams) -> list[str]:
    """How a machine's processes are started; several machines find one another by torch's ``PET_`` variables."""
    alone = [] if "PET_NNODES" in os.environ else ["--standalone"]
    launcher = [sys.executable, "-m", "torch.distributed.run", *alone, f"--nproc-per-node={params.processes}"]
    return [*launcher, "--max-restarts=0", "-m", __name__, str(folder)]


def _what_was_said(folder: Path, code: int) -> str:
    """What the process said that failed by itself, not because of another."""
    said = [file.read_text(encoding="utf-8") for file in sorted(folder.glob(SAID.format("*")))]
    own = [text for text in said if not text.startswith(StoppedError.__name__)]
    reason = next(
        iter(own), "a process of the scoring step was killed or did not answer; its memory may have run out"
    )
    return f"{reason} (torch.distributed.run ended with {code}); nothing was written"


def work(folder: Path) -> None:
    """One process: its share of the scoring step; process 0 writes the result, the report last."""
    task = json.loads((folder / TASK).read_text(encoding="utf-8"))
    params = RazorParams.model_validate(task["razor"])
    with joined(params.scoring.process_timeout) as number:
        try:
            table, gradients, report = _scored(folder, task, params)
        except Exception as error:
            (folder / SAID.format(number)).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
            raise
        if number == 0:
            ParquetDataset(filepath=str(folder / SCORES)).save(table)
            TensorsDataset(filepath=str(folder / GRADIENTS)).save(gradients)
            JSONDataset(filepath=str(folder / REPORT)).save(report)


def _scored(folder: Path, task: dict[str, object], params: RazorParams) -> ScoringResult:
    origin = task["origin"]
    assert isinstance(origin, dict)
    source = {"source": origin["id"], "revision": origin["revision"]}
    family, device = str(task["family"]), str(task["device"])
    model = PretrainedDataset(family=family, device=device, **source).load()
    if model.origin != origin:
        raise ValueError(
            f"model '{origin['id']}' is another one here than where the step was started; copy it again"
        )
    anchors, seed = task["anchors"], int(str(task["seed"]))
    assert isinstance(anchors, dict)
    return scoring_result(model, pd.read_parquet(folder / SAMPLES), params, seed, anchors)


if __name__ == "__main__":
    work(Path(sys.argv[1]))
