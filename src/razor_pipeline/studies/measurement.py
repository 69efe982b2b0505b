"""What is measured in a process of its own: an edit, and what it is compared with.

Seconds are those of the processor where the model is on the CPU, so that other work on the machine doesn't count, and
those of the clock where it is on an accelerator. Bytes are what the peak of resident memory rose by since before the
model was there.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core.gradients import mean_gradients, requiring_grad
from razor_pipeline.datasets.pretrained import JudgesDataset, PretrainedDataset
from razor_pipeline.families.examination import exam_of
from razor_pipeline.families.placement import device_named
from razor_pipeline.families.untrained import untrained
from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.anchor import chosen_anchors, with_anchors
from razor_pipeline.methods.fitting import BETAS
from razor_pipeline.methods.razor import razor, scored_for
from razor_pipeline.methods.scoring import Scored, scored_parameters
from razor_pipeline.methods.slug import slug
from razor_pipeline.methods.task import forget_rows, unlearning_task
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.peers import SlugParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import BenchSize

Measured = dict[str, float]
KIB, FLOAT = 1024, 4
STEPS = 2  # optimiser steps that are timed, behind one that is not


@dataclass(frozen=True)
class Bench:
    """What all measurements of one cell share.

    Attributes:
        size: the model.
        samples: manifest rows with roles.
        razor: parameters of the edit.
        slug: of the peer.
        evaluation: of the examination.
        judges: of drawings, name -> directory.
        seed: of all draws.
    """

    size: BenchSize
    samples: pd.DataFrame
    razor: RazorParams
    slug: SlugParams
    evaluation: EvaluationParams
    judges: Mapping[str, str]
    seed: int

    def opened(self) -> tuple[ModelFamily, UnlearningTask]:
        """The model and its task."""
        size = self.size
        model = (
            PretrainedDataset(family=size.family, source=size.model).load()
            if "/" in size.model
            else untrained(size.model, self.samples, size.blocks, size.pixels)
        )
        model.move_to(device_named("auto"))
        task = unlearning_task(self.samples)
        return model, with_anchors(model, task, chosen_anchors(model, task, self.razor.anchor))

    def generator(self) -> torch.Generator:
        """For one measurement."""
        return torch.Generator().manual_seed(self.seed)


def measure(what: str, bench: Bench) -> Measured:
    """One of :data:`MEASUREMENTS`, and the peak of memory."""
    before = _peak()
    model, task = bench.opened()
    found = MEASUREMENTS[what](model, task, bench)
    found["peak_bytes"] = float(_peak() - before)
    if on_accelerator(model):
        found["device_peak_bytes"] = float(torch.cuda.max_memory_allocated())
    return found


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def on_accelerator(model: ModelFamily) -> bool:
    """Whether the model's weights are; a machine that has one need not use it."""
    return model.device.type == "cuda"


def seconds(model: ModelFamily, work: Callable[[], Any]) -> float:
    """Seconds that the work takes; see the module."""
    if not on_accelerator(model):
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize(model.device)  # what is computed there is only asked for here
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(model.device)
    return time.perf_counter() - start


def _edit(model: ModelFamily, task: UnlearningTask, bench: Bench) -> Measured:
    """Scoring, and the edit from its scores; rounds behind the first score again, and that is the edit's."""
    params, generator = bench.razor, bench.generator()
    scored: list[Scored] = []
    trace: list[dict[str, Any]] = []

    def scoring() -> None:
        scored.append(scored_for(model, task, params, generator))

    def editing() -> None:
        trace.extend(razor(model, task, params, generator, scored.pop()).trace)

    score_seconds, edit_seconds = seconds(model, scoring), seconds(model, editing)
    stages = [row["stage"] for row in trace]
    return {
        "seconds": score_seconds + edit_seconds,
        "score_seconds": score_seconds,
        "edit_seconds": edit_seconds,
        # The zero-step's outcome is the search's own: it takes no pass.
        "evaluations": len(stages) - stages.count("zero_step"),
        "searched": stages.count("search"),
        "repairs": stages.count("repair"),
    }


def _bare(model: ModelFamily, task: UnlearningTask, bench: Bench) -> Measured:
    """A forward and backward pass over forget and retain samples, a validation pass, and what memory must hold."""
    leaves = scored_parameters(model, bench.razor.scoring)
    size = bench.razor.scoring.batch_size
    forget = forget_rows(task)
    retain = task.retain.head(bench.razor.scoring.retain_samples or len(task.retain))

    def gradients() -> None:
        mean_gradients(model.forget_loss, model.batches(forget, size), leaves, "forget")
        mean_gradients(model.retain_loss, model.batches(retain, size), leaves, "retain")

    passed = seconds(model, gradients)
    validation = Validation(model, task)
    # The first pass reads and decodes the images; the others find them decoded.
    first_seconds = seconds(model, validation)
    with torch.no_grad():
        for leaf in leaves.values():
            leaf.mul_(1.0)  # as behind a step: nothing that was embedded counts any more
    first = next(iter(model.batches(retain, size)))
    return {
        "seconds": passed,
        "first_validation_seconds": first_seconds,
        "validation_seconds": seconds(model, validation),
        "samples": len(forget) + len(retain),
        "validated": len(validation.place),
        "weights": sum(parameter.numel() for parameter in model.module.parameters()),
        "candidate_weights": sum(leaf.numel() for leaf in leaves.values()),
        "activation_bytes": saved_bytes(model, first, leaves),
        "batch": len(first),
    }


def saved_bytes(model: ModelFamily, batch: Any, leaves: Mapping[str, Tensor]) -> int:
    """Bytes that one batch's forward pass keeps for its backward pass, weights not counted."""
    with torch.enable_grad(), requiring_grad(leaves.values()), _saved(model) as found:
        model.retain_loss(batch)
    return sum(found.values())


@contextmanager
def _saved(model: ModelFamily) -> Iterator[dict[int, int]]:
    own = {tensor.untyped_storage().data_ptr() for tensor in model.module.state_dict().values()}
    found: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


def _slug(model: ModelFamily, task: UnlearningTask, bench: Bench) -> Measured:
    made: list[int] = []

    def work() -> None:
        made.append(len(slug(model, task, bench.slug, bench.generator()).trace))

    return {"seconds": seconds(model, work), "evaluations": made[0]}


def _finetune(model: ModelFamily, task: UnlearningTask, bench: Bench) -> Measured:
    """Steps of AdamW over all weights on one batch of retain samples."""
    batch = next(iter(model.batches(task.retain, bench.razor.scoring.batch_size)))
    leaves = list(model.module.parameters())
    with requiring_grad(leaves):
        optimizer = torch.optim.AdamW(leaves, 1e-6, BETAS, foreach=False)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            model.retain_loss(batch).backward()
            optimizer.step()

        step()
        taken = sum(seconds(model, step) for _ in range(STEPS)) / STEPS
    return {"step_seconds": taken, "batch": len(batch)}


def _evaluate(model: ModelFamily, _: UnlearningTask, bench: Bench) -> Measured:
    """One model's examination: its questions prepared, put to it, and marked with their intervals."""
    judges: Any = JudgesDataset(sources=dict(bench.judges)).load()

    def work() -> None:
        exam = exam_of(model, bench.samples, judges, bench.evaluation)
        answers = exam.put_to(model)
        exam.mark(answers, answers)

    return {"seconds": seconds(model, work)}


MEASUREMENTS: dict[str, Callable[[ModelFamily, UnlearningTask, Bench], Measured]] = {
    "edit": _edit,
    "bare": _bare,
    "slug": _slug,
    "finetune": _finetune,
    "evaluate": _evaluate,
}
