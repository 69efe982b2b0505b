"""One cell of the robustness study: forget a target, then attack the edited model and all that it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pandas as pd

from razor_pipeline.core.quantize import quantized
from razor_pipeline.core.weight_edit import WeightEdit, applied
from razor_pipeline.datasets.retrained import Retrained, never_saw, origins, whole
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.interfaces import ModelFamily, RecognisingFamily
from razor_pipeline.methods.task import forgotten_labels, unlearning_task
from razor_pipeline.params.razor import AcceptanceParams
from razor_pipeline.params.studies import RobustnessParams
from razor_pipeline.studies.attackers import Attacker
from razor_pipeline.studies.cells import Row
from razor_pipeline.studies.controls import last_layer, masked
from razor_pipeline.studies.edits import cost, edit
from razor_pipeline.studies.prompt_attackers import PromptAttacker

Victims = dict[str, tuple[RecognisingFamily, WeightEdit | None]]


class AttackError(ValueError):
    """The attacks cannot be put to this model."""


@dataclass(frozen=True)
class Robustness:
    """A model that names what images show, made to forget and then attacked.

    Attributes:
        base: the model that knows the targets.
        retrained: gold standards; the first that never saw a target stands for retraining.
        params: attacks and quantization schemes.
    """

    base: ModelFamily
    retrained: Sequence[Retrained]
    params: RobustnessParams

    def identity(self) -> Any:
        """Where the models came from."""
        return [whole(self.base), origins(self.retrained)]

    def erase(self, samples: pd.DataFrame, method: AcceptanceParams, seed: int) -> Row:
        """Edit and attack; ``findings`` has a row per model, attack, variant and step.

        Raises:
            AttackError: the model does not name what an image shows.
        """
        base = self.base
        if not isinstance(base, RecognisingFamily):
            raise AttackError(
                f"the attacks are written for models that name what an image shows, clip and vit, and this one is of "
                f"the family {base.name}; what comes back to one that draws or answers is in the tables of its own "
                "study (make evaluate-deep, make evaluate-vlm)"
            )
        result = edit(base, samples, method, seed)
        kind: type[Attacker[Any]] = PromptAttacker if isinstance(base, ClipFamily) else Attacker
        gold = never_saw(self.retrained, forgotten_labels(samples))
        attacker = kind(samples, self.params.attacks, self.params.schemes, seed)
        victims = self._victims(base, samples, gold, result.edit)
        rounded = {s: quantized(base.module, s) for s in self.params.schemes if s != "nf4"}
        weights = [part.parameter for part in result.edit.slices]
        findings = [
            {"model": name, **row}
            for name, (family, own) in victims.items()
            for row in self._attack(attacker, family, own, rounded, weights)
        ]
        return cost(result, base) | {"findings": findings, "images": len(attacker.unseen)}

    def _victims(
        self, base: RecognisingFamily, samples: pd.DataFrame, gold: Retrained | None, own: WeightEdit
    ) -> Victims:
        task = unlearning_task(samples)
        found: Victims = {"base": (base, None), "edited": (base, own)}
        if gold and isinstance(gold.model, RecognisingFamily):
            found["retrained"] = (gold.model, None)
        return found | {"masked": (masked(base, task), None), "last_layer": (base, last_layer(base, task))}

    def _attack(
        self,
        attacker: Attacker[Any],
        family: RecognisingFamily,
        own: WeightEdit | None,
        rounded: Any,
        weights: list[str],
    ) -> Iterator[dict[str, Any]]:
        """Where a model has no edit of its own, the edited model's weights are tuned."""
        held: AbstractContextManager[None] = (
            applied(dict(family.module.named_parameters()), own) if own else nullcontext()
        )
        with held:
            tuned = [part.parameter for part in own.slices] if own else weights
            yield from attacker.attack(family, dict.fromkeys(tuned))
            if own:
                yield from attacker.scale_back(family, own)
            yield from attacker.quantize(family, rounded if own else {}, own)
