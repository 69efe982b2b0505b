"""Attacks by images and by the weights, put to one model after the other with the same images.

Those by words are in :mod:`razor_pipeline.studies.prompt_attackers`.

Shapes: K forget images, M members, N samples, C classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Generic, TypeVar

import pandas as pd
import torch
from torch import Tensor, nn

from razor_pipeline.core.attacks.membership import membership_aucs
from razor_pipeline.core.attacks.probe import fit_probe, probe_logits
from razor_pipeline.core.attacks.relearning import recovery_curve
from razor_pipeline.core.attacks.revival import scaled_back
from razor_pipeline.core.cached import FORWARD_BATCH, CachedBatches
from razor_pipeline.core.quantize import changed_bin_share, quantized
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.interfaces import RecognisingFamily
from razor_pipeline.manifest import asked_once, prompts_by_label
from razor_pipeline.methods.task import forgotten_labels, shuffled, target_domain
from razor_pipeline.params.base import Scheme
from razor_pipeline.params.studies import AttackParams
from razor_pipeline.studies.relearning import relearning_loss

PROBE_IMAGES = 8  # of every other class; the probe weighs classes alike
Rows = Iterator[dict[str, Any]]
F = TypeVar("F", bound=RecognisingFamily)


def finding(attack: str, value: float, variant: str = "", step: float = 0.0) -> dict[str, Any]:
    """A row: what an attack brought about, mostly the share of the target's unseen images that are named."""
    return {"attack": attack, "variant": variant, "step": step, "value": value}


class Attacker(Generic[F]):
    """Knows the target, some of its images, and other people's; asks every model for the target's unseen images.

    Args:
        samples: manifest rows with one target in the role forget.
        params: how hard the attacks are.
        schemes: of quantization.
        seed: of the draw of forget images and of retained ones.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        params: AttackParams,
        schemes: Collection[Scheme],
        seed: int,
    ) -> None:
        self.params, self.schemes = params, schemes
        domain = asked_once(target_domain(samples))
        self.known = known = domain[domain["role"] != "reference"]
        [self.target] = forgotten_labels(samples)
        prompts = {label: several[0] for label, several in prompts_by_label(known).items()}
        self.names, self.prompts = list(prompts), list(prompts.values())
        self.column = self.names.index(self.target)
        own, edit = known["label"] == self.target, known["split"] == "edit"
        self.unseen = known[own & (known["split"] == "test")]
        self._unseen: CachedBatches[Any] | None = None
        self.members = known[own & edit]
        others = known[~own & edit].groupby("label").head(PROBE_IMAGES)
        self.learnt = pd.concat([self.members, others])
        generator = torch.Generator().manual_seed(seed)
        self.images = shuffled(self.members, generator)
        self.benign = shuffled(known[edit & ~own], generator).head(params.benign_rows)

    def attack(self, family: F, weights: Collection[str]) -> Rows:
        """All attacks that need the model alone; it is as it was behind each.

        Args:
            family: the model.
            weights: names of the parameters that were edited.
        """
        yield finding("none", self.accuracy(family, self.prompts))
        for count in self.params.shots:
            yield from self._relearn(family, f"relearn_{count}", count, None)
        yield from self._relearn(family, "tune_edited", max(self.params.shots), weights)
        yield from self._benign(family)
        yield from self._membership(family)
        yield finding("probe", self._probe(family))

    def scale_back(self, family: RecognisingFamily, edit: WeightEdit) -> Rows:
        """A share of the edit undone after the other; the model holds the edit."""
        parameters = dict(family.module.named_parameters())
        for share in self.params.undone:
            with scaled_back(parameters, edit, share):
                yield finding("scaled_back", self.accuracy(family, self.prompts), step=share)

    def quantize(
        self, family: RecognisingFamily, base: Mapping[str, nn.Module], edit: WeightEdit | None
    ) -> Rows:
        """Rounded to few bits; ``base`` has the base model by scheme, rounded."""
        for scheme in self.schemes:
            rounded = quantized(family.module, scheme)
            yield finding(scheme, self.accuracy(family.with_module(rounded), self.prompts))
            if scheme in base and edit is not None:
                changed = changed_bin_share(base[scheme], rounded, edit)
                yield finding(f"{scheme}_changed_bins", changed)

    def accuracy(self, family: RecognisingFamily, texts: list[str]) -> float:
        """Share of the target's unseen images whose best text, among one for every class, is the target's."""
        return self._named(family.scores(self._asked(family), texts))

    def _asked(self, family: RecognisingFamily) -> CachedBatches[Any]:
        """The target's unseen images, decoded once: any model of the family takes them as the first one does."""
        if self._unseen is None:
            self._unseen = CachedBatches(family.batches(self.unseen, FORWARD_BATCH))
        return self._unseen

    def _named(self, score_NC: Tensor) -> float:
        return float((score_NC.argmax(dim=1) == self.column).float().mean())

    def _relearn(
        self, family: RecognisingFamily, attack: str, count: int, weights: Collection[str] | None
    ) -> Rows:
        """Fine-tuning by the name, against all other names; of all weights, or of some."""
        loss = relearning_loss(family, self.images.head(count), self.prompts, self.column)
        return self._tune(family, attack, loss, weights)

    def _benign(self, family: RecognisingFamily) -> Rows:
        """Fine-tuning on other people's images and captions; the target plays no part in it."""
        batches = itertools.cycle(family.batches(self.benign, self.params.benign_batch))
        return self._tune(family, "benign", lambda: family.retain_loss(next(batches)), None)

    def _tune(
        self,
        family: RecognisingFamily,
        attack: str,
        loss: Callable[[], Tensor],
        weights: Collection[str] | None,
    ) -> Rows:
        unseen = self._asked(family)
        everything = dict(family.module.named_parameters())
        curve = recovery_curve(
            everything if weights is None else {name: everything[name] for name in weights},
            loss,
            lambda: self._named(family.scores(unseen, self.prompts)),
            self.params.steps,
            self.params.learning_rate,
        )
        return (finding(attack, value, step=step) for step, value in enumerate(curve))

    @torch.no_grad()
    def _membership(self, family: RecognisingFamily) -> Rows:
        """Told from the target's unseen images, which differ from its others by training alone."""
        given_MC, unseen_KC = (
            torch.cat(
                [family.class_logits(batch, self.prompts) for batch in family.batches(rows, FORWARD_BATCH)]
            )
            for rows in (self.members, self.unseen)
        )
        found = membership_aucs(given_MC, unseen_KC, self.column)
        return (finding("membership", estimate.value, name) for name, estimate in found.items())

    def _probe(self, family: RecognisingFamily) -> float:
        """Share of the unseen images that a linear map of what the last layer is given names."""
        label_N, labels = pd.factorize(self.learnt["label"], sort=True)
        learnt, unseen = (
            family.features(family.batches(rows, FORWARD_BATCH)) for rows in (self.learnt, self.unseen)
        )
        best = probe_logits(fit_probe(learnt, torch.from_numpy(label_N).to(family.device)), unseen).argmax(
            dim=1
        )
        return float((best == list(labels).index(self.target)).float().mean())
