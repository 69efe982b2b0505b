"""RAZOR: score, select, edit in zero steps, correct in a few, grow only while forgetting falls short.

Source: arXiv 2603.14819 (Ratio-Aware Zero/One-step Optimized Retentive unlearning).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from razor_pipeline.core import losses
from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.edit import Pieces, fused_direction, move, snapshot
from razor_pipeline.core.gradients import mean_gradients
from razor_pipeline.core.scoring import ComponentScore, score_components
from razor_pipeline.core.selection import select
from razor_pipeline.core.step_search import smallest_step
from razor_pipeline.interfaces import ModelFamily, UnlearningTask
from razor_pipeline.methods.validation import Outcome, Validation
from razor_pipeline.params import RazorParams, ScoringParams


@dataclass(frozen=True)
class Scored:
    """Scores of all components and the gradients behind them."""

    rows: list[ComponentScore]
    forget: dict[str, Tensor]
    retain: dict[str, Tensor]
    seconds: float


def score(model: ModelFamily, task: UnlearningTask, params: ScoringParams, generator: torch.Generator) -> Scored:
    """One pass of each gradient at the current weights, and the score of every component."""
    start = time.perf_counter()
    components = model.components(params.granularity)
    everything = dict(model.module.named_parameters())
    parameters = {name: everything[name] for name in parameter_names(components)}
    forget_rows = pd.concat([forget.edit for forget in task.forget])
    forget = mean_gradients(model.forget_loss, model.batches(forget_rows, params.batch_size), parameters, "forget")
    retain_batches = model.batches(task.retain, params.batch_size, generator)
    retain = mean_gradients(model.retain_loss, retain_batches, parameters, "retain")
    rows = score_components(components, parameters, forget.tensors, retain.tensors, params.alpha, params.eps)
    return Scored(rows, forget.tensors, retain.tensors, time.perf_counter() - start)


class Editor:
    """The components in hand: moves them, measures, and remembers the best state seen."""

    def __init__(
        self, model: ModelFamily, task: UnlearningTask, params: RazorParams, generator: torch.Generator
    ) -> None:
        self.model, self.task, self.params, self.generator = model, task, params, generator
        self.parameters = dict(model.module.named_parameters())
        self.validation = Validation(model, task)
        self.base = self.validation()
        self.trace: list[dict[str, Any]] = []

    def measure(self, stage: str, round_: int, step: float) -> Outcome:
        """Evaluate the model as it is and note it in the trace."""
        outcome = self.validation()
        self.trace.append(outcome.row(step=len(self.trace), round=round_, stage=stage, step_size=step))
        return outcome
