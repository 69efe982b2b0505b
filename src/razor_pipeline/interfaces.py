"""The two contracts of the project: what a model family offers, and what an unlearning method does with it.

Shapes: B batch, N samples, C prompts or classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import pandas as pd
import torch
from torch import Tensor, nn

from razor_pipeline.core.components import Component, Granularity
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.params.razor import WordParams

# Prompts -> (label, style) that judges see in each of the model's drawings of them; empty where one shows nothing.
# Every prompt is drawn equally often, and its drawings stand next to each other. The model draws as it is at the call,
# from seeds that no test draws from.
See = Callable[[Sequence[str]], Sequence[tuple[str, str]]]


class Batch(Sized, Protocol):
    """Model-ready samples; ``len`` is their number. Only the family that made it looks inside."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""

    def take(self, index: Tensor) -> Batch:
        """The samples at these places."""


class Examinee(Protocol):
    """What a validation asks of a model."""

    def batches(
        self, samples: pd.DataFrame, batch_size: int, generator: torch.Generator | None = None
    ) -> Sequence[Batch]:
        """Manifest rows, shuffled where a generator is given; a batch is decoded and encoded when it is asked for.

        What visits them again and again wraps them in :class:`razor_pipeline.core.cached.CachedBatches`.
        """

    def scores(self, batches: Sequence[Any], prompts: Sequence[str]) -> Tensor:
        """[N, C] score of every prompt for every sample, on the CPU, no gradient; the arg max is the prediction."""


class ModelFamily(Examinee, Protocol):
    """A trained model with its objectives. It knows nothing of unlearning methods.

    ``yardstick`` says what not knowing looks like: what never-seen samples show (``reference``), or what the model
    makes of another concept, the ``anchor``, whose prompt each forget row then has in a column of that name.
    """

    name: str
    yardstick: Literal["reference", "anchor"]
    module: nn.Module
    stored_dtype: torch.dtype
    origin: dict[str, str | None]
    card: str

    @property
    def device(self) -> torch.device:
        """Where its weights are; batches, losses and logits are there too."""

    def move_to(self, device: torch.device) -> None:
        """Move all of it to a device, in place."""

    def with_module(self, module: Any) -> ModelFamily:
        """The same family around another module of this architecture, e.g. a quantized copy."""

    def save_pretrained(self, path: Path) -> None:
        """Write a directory that opens with plain ``from_pretrained``."""

    def components(self, granularity: Granularity) -> tuple[Component, ...]:
        """The editable components; no two of one granularity share a weight."""

    def forget_loss(self, batch: Any) -> Tensor:
        """Mean loss of the forget objective: low while the model remembers."""

    def retain_loss(self, batch: Any) -> Tensor:
        """Mean loss of what the model was trained for."""

    def observe(self, batch: Any) -> Tensor:
        """What must not drift on a retain batch; differentiable."""

    def knowledge(self, batch: Any) -> Tensor:
        """[B] how strongly the model ties each sample to its own caption; differentiable, higher is stronger."""

    def by_output(self, rows: pd.DataFrame, prompts: Sequence[str]) -> Examinee:
        """What peers are chosen by: scores that see an edit of any part; the model itself where its own do.

        Called at the base weights, with rows to look at and all prompts that scores will be asked for.
        """


class ReferenceFamily(ModelFamily, Protocol):
    """A model whose yardstick is ``reference``, for corrective steps and for attacks that fine-tune it."""

    def gap(self, target: Sequence[Any], reference_M: Tensor, auc: float, others: Sequence[str]) -> Tensor:
        """How far forget samples are from what not knowing looks like: a mean of squared differences, 0 where none.

        Args:
            target: their batches; one at a time leaves what its backward pass needs.
            reference_M: :meth:`knowledge` of never-seen samples at the weights as they are.
            auc: how well these may be told from the target's.
            others: prompts of all other classes, for a model that names an image by the nearest of its prompts: some
                never-seen samples get the target's name, and no forget sample is led to be one of them.
        """

    def mismatch_loss(self, batch: Any, frozen: Tensor) -> Tensor:
        """Drift of :meth:`observe` from the frozen model's observation of the same batch."""

    def keeping_losses(self, batch: Any, frozen: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`retain_loss` and :meth:`mismatch_loss` of a batch from one forward pass."""

    def besides(self, rows: pd.DataFrame) -> pd.DataFrame:
        """What is to be kept of images but their label, as retain rows; none where only that is asked for."""

    def class_logits(self, batch: Any, prompts: Sequence[str]) -> Tensor:
        """[B, C] logits of the classes that the prompts name, as cross-entropy takes them; differentiable."""


@runtime_checkable
class RecognisingFamily(ReferenceFamily, Protocol):
    """A model whose last layer maps features of an image linearly: to its classes, or to where texts are too."""

    def with_module(self, module: Any) -> RecognisingFamily:
        """The same family around another module of this architecture, e.g. a quantized copy."""

    def features(self, batches: Sequence[Any]) -> Tensor:
        """[N, W] what the last layer is given of each image; no gradient."""


@runtime_checkable
class NamingFamily(ModelFamily, Protocol):
    """A model whose prompts may be any text, so that a name in them may be misspelt."""

    def ties(self, batch: Any) -> Tensor:
        """[B, B] how strongly the model ties each sample of a batch to each of its captions; differentiable."""

    def naming_loss(self, batch: Any, prompts: Sequence[str]) -> Tensor:
        """Mean cross-entropy of each sample's own caption among the prompts, of which it is one."""


@runtime_checkable
class AnsweringFamily(ModelFamily, Protocol):
    """A model that answers questions about an image, also those that suggest what it shows."""

    def agreement(self, batch: Any, label: str, turn: int) -> Tensor:
        """[B] how readily the model agrees that each image shows the label; differentiable, higher is more readily.

        Each image is asked in one wording, in another ``turn`` in another one.
        """


class NoisyLatents(Batch, Protocol):
    """Latents with noise, each at its own time, and what the denoiser should predict of them."""

    @property
    def aim(self) -> Tensor:
        """[B, L, h, w] what the denoiser should predict."""


class DrawingFamily(ModelFamily, Protocol):
    """A text-to-image model, for methods that edit its denoiser.

    ``denoiser`` begins the names of the denoiser's parameters.
    """

    @property
    def denoiser(self) -> str:
        """Name of the denoiser in the module."""

    def cross_attention(self) -> Sequence[str]:
        """Names of the denoiser's weights through which a prompt acts on the image."""

    def prompt_readers(self) -> Sequence[str]:
        """Names of those whose input is the tokens' hidden states and nothing else."""

    def token_states(self, prompts: Sequence[str]) -> Tensor:
        """[C, T, E] what the prompt readers read of every token; ValueError where there are none."""

    def conditioning(self, prompts: Sequence[str]) -> Tensor:
        """[C, D] what the denoiser is told of prompts; differentiable."""

    def frozen_conditioning(self, prompts: Sequence[str]) -> Tensor:
        """[C, D] what the base model's denoiser was told of prompts; no gradient."""

    def solved(
        self,
        components: Sequence[Component],
        led: Sequence[tuple[str, str]],
        kept: Sequence[str],
        pressure: float,
        hold: float,
    ) -> dict[str, Tensor]:
        """Slice key -> change of what can be solved for instead of searched; empty where nothing can.

        Args:
            components: that are edited.
            led: prompts, each with the one whose meaning it is led to.
            kept: prompts that are to mean what they mean.
            pressure: weight of the mean squared distance of ``led``.
            hold: weight of the mean squared drift of ``kept``, and of that of the empty prompt.
        """

    def noisy_rows(self, rows: pd.DataFrame, generator: torch.Generator) -> NoisyLatents:
        """The rows' images as latents, each with one random noise at one random time."""

    def predicted(self, noisy: Any, conditioning_BD: Tensor) -> Tensor:
        """[B, L, h, w] what the denoiser predicts; differentiable."""


class WordLearner(Protocol):
    """An attacker who learns a new word for a label on a model as it is at each call; the model stays as it is."""

    def learn(self, steps: int) -> None:
        """Train the word's embedding further."""

    def told(self, prompts: Sequence[str]) -> Tensor:
        """[C, D] what the denoiser is told of prompts with the word in the label's place; no gradient."""


@runtime_checkable
class InvertibleFamily(DrawingFamily, Protocol):
    """A text-to-image model that a new word can be taught to (textual inversion), and hardened against it."""

    def body(self) -> tuple[Component, ...]:
        """The denoiser's matrices that read no prompt; none of them among :meth:`components`."""

    def attacker(self, rows: pd.DataFrame, params: WordParams, seed: int) -> WordLearner:
        """Who teaches the model a new word for the rows' label, which their ``prompt`` holds.

        Args:
            rows: images of one concept.
            params: how the word is learnt from them.
            seed: of the images, noises and times.
        """


def class_scores(model: Examinee, batches: Sequence[Any], prompts: Mapping[str, Sequence[str]]) -> Tensor:
    """[N, C] score of every class for every sample: that of the best of its prompts, classes in the order given."""
    flat = [prompt for several in prompts.values() for prompt in several]
    return by_class(model.scores(batches, flat), prompts)


def by_class(scores_NP: Tensor, prompts: Mapping[str, Sequence[str]]) -> Tensor:
    """[N, C] the best score among each class's prompts; columns and classes in the order given."""
    sizes = [len(several) for several in prompts.values()]
    return torch.stack([part.amax(dim=1) for part in scores_NP.split(sizes, dim=1)], dim=1)


@dataclass(frozen=True)
class ForgetSet:
    """The forget data of one target.

    Attributes:
        target: label of the concept.
        prompt: the caption that names it (the first where it has several).
        edit: its rows for gradients, each with a caption that names it.
        validation: its rows for the step search, captioned with their prompts.
        reference: rows that tell what "unknown" looks like, captioned with ``prompt``: never-seen classes of the
            same domain or, where the data has none, the other known classes.
    """

    target: str
    prompt: str
    edit: pd.DataFrame
    validation: pd.DataFrame
    reference: pd.DataFrame


@dataclass(frozen=True)
class UnlearningTask:
    """Everything a method may look at; the test split is not among it.

    Attributes:
        forget: one entry per target.
        retain: rows for retain gradients.
        retain_validation: rows of the targets' domain for the step search.
        prompts: label -> its prompts, for every known class of the targets' domain.
        cells: (label, style) -> its prompt, for every such pair that any row of that domain shows, those of the test
            split included: what there is to say, not what it looks like.
        earlier: what the model was made to forget before and is to stay forgotten; it is held, not searched for.
        see: looks at what the model draws; None where nobody can, or the model does not draw.
    """

    forget: tuple[ForgetSet, ...]
    retain: pd.DataFrame
    retain_validation: pd.DataFrame
    prompts: dict[str, tuple[str, ...]]
    cells: dict[tuple[str, str], str] = field(default_factory=dict)
    earlier: tuple[ForgetSet, ...] = ()
    see: See | None = None


@dataclass(frozen=True)
class EditResult:
    """What a method returns: the edit, how it came about, and why it stopped.

    ``peak_rss_mb`` is the most memory that the process held meanwhile, filled in by who calls the method.
    """

    edit: WeightEdit
    trace: list[dict[str, Any]]
    stop_reason: str
    rounds: int
    seconds: dict[str, float] = field(default_factory=dict)
    peak_rss_mb: float | None = None


class UnlearningMethod(Protocol):
    """Makes a model forget. Leaves ``model`` bit-identical on exit, also when it raises."""

    def __call__(
        self, model: ModelFamily, task: UnlearningTask, params: Any, generator: torch.Generator
    ) -> EditResult:
        """Compute the edit."""
