"""Rounds against textual inversion: an attacker learns a new word, and the denoiser's body unlearns what it stands for.

An edit of what a prompt says leaves the concept in the denoiser, where a learnt word finds it (arXiv 2308.01508). In
each round an attacker learns a word on the model as it is; then the best components of the body are taught to predict,
under the words of all rounds, what the base predicts under the anchor's prompts, and under other prompts what it
predicts there. Others who put an attacker into the loop edit cross-attention or the text encoder: Receler (arXiv
2311.17717), AdvUnlearn (2405.15234), RECE (2407.12383).

Shapes: N lessons, C distinct prompts of a target, D numbers of a prompt's conditioning.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from razor_pipeline.core.components import Component, parameter_names
from razor_pipeline.core.gradients import assert_finite, mean_gradients, requiring_grad
from razor_pipeline.core.mentions import mentions
from razor_pipeline.core.scoring import score_components
from razor_pipeline.core.selection import select
from razor_pipeline.interfaces import (
    ForgetSet,
    InvertibleFamily,
    ModelFamily,
    NoisyLatents,
    UnlearningTask,
    WordLearner,
)
from razor_pipeline.methods.lessons import Lessons, lessons_of, missed
from razor_pipeline.methods.task import drawn_evenly, forget_rows, shuffled
from razor_pipeline.methods.validation import Validation
from razor_pipeline.params.razor import RazorParams

logger = logging.getLogger(__name__)
BATCH = 64
SEEDS = 2**31
UNTOLD = 10  # one in so many lessons of what is kept is told nothing, as in training: guidance needs it


@dataclass
class _Target:
    """What is to be unlearned of one target.

    Attributes:
        forget: its rows.
        prompts: C distinct prompts of its lessons.
        place_N: which of them each lesson is told.
        lessons: N of them, whose goals are the base's predictions under the anchor's prompts.
        words: [C, D] what the denoiser is told of the prompts with what names the target, one of each round.
        attacker: who learns the last of them.
    """

    forget: ForgetSet
    prompts: Sequence[str]
    place_N: Tensor
    lessons: Lessons
    words: list[Tensor]
    attacker: WordLearner | None = None

    def told(self, word_CD: Tensor, index: Tensor) -> Lessons:
        """The lessons at these places, told by one of the words."""
        return replace(self.lessons.take(index), told_ND=word_CD[self.place_N[index]])

    def drawn(self, count: int, generator: torch.Generator) -> Lessons:
        """Random lessons, told by a random mixture of two of the words so far."""
        one, other = (self.words[int(i)] for i in torch.randint(len(self.words), (2,), generator=generator))
        share = float(torch.rand((), generator=generator))
        return self.told(one.lerp(other, share), _places(len(self.lessons), count, generator))


class Hardening:
    """The lessons of all rounds, made at the weights that the edit starts from.

    What is led and what is kept is held against the model as it is then.

    Args:
        model: at those weights.
        task: targets, each with the anchors of its rows, and data.
        params: of the method.
        generator: of lessons, words and steps.

    Raises:
        ValueError: no word can be taught to the model, or a target is not named in its prompts by one piece.
    """

    def __init__(
        self, model: ModelFamily, task: UnlearningTask, params: RazorParams, generator: torch.Generator
    ) -> None:
        assert params.harden is not None
        self.model = hardenable(model, task)
        self.params, self.scoring, self.generator = params.harden, params.scoring, generator
        self.pressure = params.objective.lambda_f * params.objective.rho
        # Read from predictions, which the body changes; what prompts mean, it does not.
        self.validation = Validation(model, task, by_output=True)
        self.targets = [self._target(forget) for forget in task.forget]
        self.kept = self._kept(task)

    def learn_words(self) -> None:
        """A new attacker learns a word for every target on the model as it is."""
        word = self.params.word
        for target in self.targets:
            # A seed that nobody else counts up to: who examines the edit is to attack in another way.
            seed = int(torch.randint(SEEDS, (), generator=self.generator))
            target.attacker = self.model.attacker(target.forget.edit, word, seed)
            target.attacker.learn(word.steps)
            target.words.append(target.attacker.told(target.prompts))

    def check_room(self, room: int) -> None:
        """Refuse a budget that no matrix of the body fits.

        Raises:
            ValueError: it is too small for the smallest, or the body is not to be edited.
        """
        parameters = dict(self.model.module.named_parameters())
        sizes = [component.numel(parameters) for component in self._body()]
        if not sizes:
            raise ValueError(
                f"razor.harden edits the tower '{self.model.denoiser}', which razor.scoring.towers leaves out; add it, "
                "or set razor.harden to null"
            )
        if min(sizes) > room:
            raise ValueError(
                f"razor.max_edited_share leaves {room} weights for razor.harden, and the smallest matrix of the body "
                f"has {min(sizes)}; raise it, choose fewer razor.components, or set razor.harden to null"
            )

    def chosen(self, room: int) -> list[Component]:
        """The body's best components for the last words, which hold ``room`` weights together at most.

        They are ranked by RAZOR's score: leverage on what the words stand for, safety for what the denoiser is for.
        """
        body = self._body()
        everything = dict(self.model.module.named_parameters())
        leaves = {name: everything[name] for name in parameter_names(body)}
        size = min(BATCH, self.scoring.batch_size)
        led = [
            target.told(target.words[-1], part)
            for target in self.targets
            for part in torch.arange(len(target.lessons)).split(size)
        ]
        # Safety is for what the denoiser is for: each image under its own prompt.
        own = torch.arange(len(self.kept) // 2, len(self.kept))
        kept = [self.kept.take(part) for part in own.split(size)]
        forget = mean_gradients(self._forget_loss, led, leaves, "word")
        retain = mean_gradients(self._retain_loss, kept, leaves, "retain")
        rows = score_components(
            body, leaves, forget.tensors, retain.tensors, self.scoring.alpha, self.scoring.eps
        )
        names = select(rows, self.params.components, room)
        return [component for component in body if component.name in names]

    def unlearn(self, components: Sequence[Component], parameters: Mapping[str, Tensor]) -> None:
        """Teach the components, in place, what all words so far are to stand for.

        Raises:
            NonFiniteError: a weight became NaN or infinite; names it.
        """
        leaves = {name: parameters[name] for name in parameter_names(components)}
        optimizer = torch.optim.Adam(leaves.values(), self.params.learning_rate)
        # The last steps are short, so that what is kept settles.
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, self.params.steps)
        first = last = 0.0
        steps = tqdm(range(self.params.steps), desc="hardening", unit="step", disable=None, leave=False)
        try:
            for step in steps:
                with torch.enable_grad(), requiring_grad(leaves.values()):
                    loss = self._loss()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                schedule.step()
                last = loss.item()
                first = last if step == 0 else first
                self._follow()
        finally:
            optimizer.zero_grad()
        assert_finite(leaves, "hardening")
        logger.info("Hardening with %d words: loss %.4f, then %.4f.", len(self.targets[0].words), first, last)

    def _body(self) -> list[Component]:
        towers = self.scoring.towers
        return [component for component in self.model.body() if towers is None or component.tower in towers]

    def _follow(self) -> None:
        """Attackers go on learning, a few steps of theirs for each of the body's."""
        if self.params.follow:
            for target in self.targets:
                assert target.attacker is not None
                target.attacker.learn(self.params.follow)
                target.words[-1] = target.attacker.told(target.prompts)

    def _loss(self) -> Tensor:
        kept = self.kept.take(_places(len(self.kept), self.params.kept, self.generator))
        led = [self._missed(target.drawn(self.params.led, self.generator)) for target in self.targets]
        return self.pressure * torch.stack(led).mean() + self.params.keep * self._missed(kept)

    def _missed(self, lessons: Lessons) -> Tensor:
        return missed(self.model, lessons)

    def _forget_loss(self, lessons: Lessons) -> Tensor:
        """Low while the word works, as a score takes a forget loss: unlearning ascends it."""
        return -self._missed(lessons)

    def _retain_loss(self, lessons: Lessons) -> Tensor:
        noisy = cast("NoisyLatents", lessons.noisy)
        return (self.model.predicted(noisy, lessons.told_ND) - noisy.aim).square().mean()

    def _kept(self, task: UnlearningTask) -> Lessons:
        """Others' prompts, the first half at the targets' noisy images, the others at their own.

        Drawings of what is like a target pass where the target's do; untaught there, they would be led away with them.
        """
        rows = drawn_evenly(task.retain, self.generator).head(self.params.lessons)
        there = shuffled(forget_rows(task), self.generator)
        half = len(rows) // 2
        there = there.iloc[[place % len(there) for place in range(half)]]
        # The targets' images are not shown without a prompt: what they are is to be forgotten.
        told = [
            "" if place >= half and place % UNTOLD == 0 else caption
            for place, caption in enumerate(rows["caption"])
        ]
        images = pd.concat([there, rows.iloc[half:]], ignore_index=True)
        return lessons_of(self.model, images, told, self.model.predicted, self.generator)

    def _target(self, forget: ForgetSet) -> _Target:
        rows = shuffled(forget.edit, self.generator).head(self.params.lessons)
        lessons = lessons_of(self.model, rows, list(rows["anchor"]), self.model.predicted, self.generator)
        prompts = list(dict.fromkeys(rows["prompt"]))
        place_N = torch.tensor([prompts.index(prompt) for prompt in rows["prompt"]])
        # What the original encoder says of the target is the first word: whoever has one need not learn it.
        return _Target(forget, prompts, place_N, lessons, [self.model.frozen_conditioning(prompts)])


def hardenable(model: ModelFamily, task: UnlearningTask) -> InvertibleFamily:
    """The model as one that a word can be taught to.

    Raises:
        ValueError: none can, or a target's prompts do not hold its name in one piece, which a word could stand for.
    """
    if not isinstance(model, InvertibleFamily):
        raise ValueError(  # noqa: TRY004 - of the parameter, not of what was passed
            f"razor.harden is set, but no new word can be taught to '{model.name}', as it can to 'diffusion_deep'; "
            "set it to null"
        )
    for forget in task.forget:
        for prompt in set(forget.edit["prompt"]):
            if not mentions(prompt, forget.target):
                raise ValueError(
                    f"razor.harden is set, but the prompt '{prompt}' does not hold '{forget.target}' in one piece, "
                    "which a learnt word could stand for; set it to null"
                )
    return model


def _places(among: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(among, (count,), generator=generator)
