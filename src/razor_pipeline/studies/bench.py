"""What an edit costs, as ratios to the least that it could cost, measured in one process each."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch

from razor_pipeline.core.components import parameter_names
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.razor import razor
from razor_pipeline.methods.task import unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params import RazorParams

Measured = dict[str, float]
MIB = 1024.0


def bare_limit(model: ModelFamily, task: UnlearningTask, params: RazorParams, evaluations: int) -> None:
    """One forward and backward pass over the forget and retain samples, and the validation passes of the search."""
    everything = dict(model.module.named_parameters())
    names = parameter_names(model.components(params.scoring.granularity))
    leaves = {name: everything[name] for name in names}
    forget = pd.concat([part.edit for part in task.forget])
    mean_gradients(model.forget_loss, model.batches(forget, params.scoring.batch_size), leaves, "forget")
    mean_gradients(model.retain_loss, model.batches(task.retain, params.scoring.batch_size), leaves, "retain")
    validation = Validation(model, task)
    for _ in range(evaluations):
        validation()


def measured(work: Callable[[], Any]) -> Measured:
    """Seconds, and MiB that the peak of resident memory rose above where it was."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB - before}


def _child(
    pipe: Any,
    what: str,
    origin: dict[str, str],
    samples: pd.DataFrame,
    params: RazorParams,
    evaluations: int,
    seed: int,
) -> None:
    model = PretrainedDataset(family=origin["family"], source=origin["id"]).load()
    task = unlearning_task(samples)
    model.scores(model.batches(task.forget[0].validation, 16), [task.forget[0].prompt])  # warm up
    if what == "bare":
        pipe.send(measured(lambda: bare_limit(model, task, params, evaluations)))
        return
    traces: list[int] = []

    def edit() -> None:
        traces.append(len(razor(model, task, params, torch.Generator().manual_seed(seed)).trace))

    pipe.send(measured(edit) | {"evaluations": traces[0]})


def in_own_process(
    what: str, model: ModelFamily, samples: pd.DataFrame, params: RazorParams, evaluations: int, seed: int
) -> Measured:
    """Measure ``bare`` or ``edit`` in a fresh process, so that one leaves no memory to the other."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    origin = {"family": model.name, "id": model.origin["id"]}
    process = context.Process(target=_child, args=(sender, what, origin, samples, params, evaluations, seed))
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


def bench_row(model: ModelFamily, samples: pd.DataFrame, params: RazorParams, seed: int) -> dict[str, float]:
    """One paired measurement of score + edit and of the bare limit."""
    edit = in_own_process("edit", model, samples, params, 0, seed)
    bare = in_own_process("bare", model, samples, params, int(edit["evaluations"]), seed)
    return {
        "score_edit_seconds": edit["seconds"],
        "bare_seconds": bare["seconds"],
        "score_edit_over_limit_clip_zoo": edit["seconds"] / bare["seconds"],
        "score_edit_mib": edit["mib"],
        "bare_mib": bare["mib"],
        "peak_memory_over_bare_clip_zoo": edit["mib"] / bare["mib"],
        "evaluations": edit["evaluations"],
    }
