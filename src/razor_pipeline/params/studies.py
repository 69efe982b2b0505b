"""Parameters of the studies: over targets and seeds, of peers, attacks, costs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from razor_pipeline.params.base import Count, Names, Params, Positive, Schemes, Seeds, Several, Share
from razor_pipeline.params.evaluation import Protocol
from razor_pipeline.params.peers import Method, PeersParams, SlugParams
from razor_pipeline.params.razor import WordParams


class RelearningParams(Params):
    """The relearning attack: full fine-tuning with Adam on a few forget images."""

    images: Count = 4
    steps: Count = 20
    learning_rate: Positive = 1e-4
    threshold: Share = 0.8


class StudyParams(Params):
    """A study over targets and seeds; each pair is a cell that is kept once it is done."""

    targets: Names = ()
    seeds: Seeds = (0, 1)
    schemes: Schemes = ("int8", "int4")
    relearning: RelearningParams | None = RelearningParams()


class BenchmarkParams(StudyParams):
    """Methods x targets x seeds; a model that draws is compared by what ``evaluation.drawing`` has it draw."""

    seeds: Seeds = (0, 1, 2)
    methods: Annotated[tuple[Method, ...], Several] = ("razor", "ft", "ga", "gaft", "salun", "ssd", "slug")
    peers: PeersParams = PeersParams()


class InversionParams(WordParams):
    """Textual inversion by an attacker with some images of the concept, once per seed."""

    steps: Count = 300
    seeds: Seeds = (0, 1)


class PromptSearchParams(Params):
    """Search for words to say before a prompt by an attacker with some images of the concept, once per seed.

    In each of ``steps`` the attacker tries ``exchanges`` of one token for one of the ``promising``.
    """

    images: Count = 16
    tokens: Count = 4
    steps: Count = 30
    batch_size: Count = 16
    promising: Count = 32
    exchanges: Count = 12
    seeds: Seeds = (0, 1)


class ConceptsParams(StudyParams):
    """The study on a text-to-image model; ``quantized_protocol`` is what the copies in ``schemes`` draw."""

    relearning: None = None
    inversion: InversionParams | None = None
    prompt_search: PromptSearchParams | None = None
    protocol: Protocol = "unlearncanvas"
    quantized_protocol: Protocol = "subset"


class SequenceParams(Params):
    """Requests on one model, in this order."""

    targets: Names = ()
    seeds: Seeds = (0,)
    protocol: Protocol = "unlearncanvas"


class AttackParams(Params):
    """How hard a forgotten model is attacked.

    Relearning and the tuning of the edited weights alone are Adam for ``steps`` steps, on ``shots`` forget images and
    on the largest of them; benign fine-tuning takes as many steps over ``benign_rows`` retained images.
    """

    shots: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 4, 16)
    steps: Count = 20
    learning_rate: Positive = 1e-4
    benign_rows: Annotated[int, Field(ge=2)] = 256
    benign_batch: Annotated[int, Field(ge=2)] = 64
    undone: Annotated[tuple[Share, ...], Field(min_length=2)] = (0.0, 0.25, 0.5, 0.75)
    inversion_steps: Count = 100


class RobustnessParams(StudyParams):
    """Attacks on the edited model, the base, the retrained model and two that only seem to have forgotten."""

    seeds: Seeds = (0,)
    relearning: None = None
    attacks: AttackParams = AttackParams()


class AblationParams(StudyParams):
    """The study over variants of RAZOR: ``variants`` maps a name to what differs from the ``razor`` parameters."""

    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)


class BenchSize(Params):
    """A model whose edit is measured, and on what.

    Attributes:
        model: name of a published size, which gets random weights (``families/published.py``), or a directory.
        family: of the model in a directory.
        blocks: part -> layers, where fewer than published are built.
        pixels: height and width of its images, where not the published ones.
        captions: what the family reads, as ``data.captions`` has it.
        classes: classes of the target's domain in all, never-seen ones not counted; None for all, and other domains.
        forget: images of each target in the edit split; None for all, as below.
        validation: images of each target in the validation split; of all others together, four times as many.
        reference: never-seen images.
        retain: images to keep.
        razor: what differs from the ``razor`` parameters.
        targets: how many of ``bench.targets`` are measured, one after the other.
        slug: whether the peer's search is measured.
        finetune: whether optimiser steps are measured; AdamW holds three copies of all weights.
        evaluate: whether one model's examination is measured, over the test images of the classes.
    """

    model: str = "data/01_raw/zoo/clip"
    family: str = "clip"
    blocks: dict[str, Count] = Field(default_factory=dict)
    pixels: Annotated[int, Field(ge=16)] | None = None
    captions: Literal["given", "class", "answer"] = "given"
    classes: Annotated[int, Field(ge=3)] | None = None
    forget: Count | None = None
    validation: Count | None = None
    reference: Annotated[int, Field(ge=2)] | None = None
    retain: Annotated[int, Field(ge=2)] | None = None
    razor: dict[str, Any] = Field(default_factory=dict)
    targets: Count = 1
    slug: bool = True
    finetune: bool = True
    evaluate: bool = False


class AssumedParams(Params):
    """What no measurement here says, and seconds and money at scale are calculated from.

    The defaults are for a model of ViT-L/14's size. Its towers take some 88 G multiplications and additions of one
    image with its caption, so a forward and backward pass some 0.53 TFLOP: 0.02 s at 26 TFLOP/s in float32.

    Attributes:
        pass_seconds: of a forward and backward pass of one sample on one device.
        hour_price: of one device for an hour, in any currency.
        devices: numbers of devices, a line of the table for each; all of a run's are paid from beginning to end.
    """

    pass_seconds: Positive = 0.02
    hour_price: Positive = 2.0
    devices: Annotated[tuple[Count, ...], Several, Field(min_length=1)] = (1, 8, 64)


class BenchParams(Params):
    """What an edit costs: sizes of models, and how the cost grows.

    Attributes:
        targets: what is forgotten; a size says how many of them are measured.
        only: names of ``sizes`` and of ``growth``, separated by "|"; empty for all.
        sizes: name -> what is measured.
        growth: axis -> values; ``growth_of`` is measured once with each.
        growth_of: the size that grows.
        slug: the peer whose search is measured beside.
        epochs: of the fine-tune that is extrapolated.
        assumed: for seconds and money at scale; nothing that is measured depends on it.
    """

    targets: Names = ()
    only: str = ""
    sizes: dict[str, BenchSize] = Field(default_factory=dict)
    growth: dict[Literal["retain", "forget", "components", "targets"], tuple[Count, ...]] = Field(
        default_factory=dict
    )
    growth_of: str = "clip_few"
    slug: SlugParams = SlugParams(layers=1)
    epochs: Count = 10
    assumed: AssumedParams = AssumedParams()

    @property
    def directories(self) -> tuple[str, ...]:
        """Models whose weights the figures depend on; a published size is none of them."""
        return tuple(size.model for size in self.sizes.values())


class MemoryParams(Params):
    """Rows of the passes and of the manifest whose memory is measured."""

    passes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1_000, 10_000, 100_000)
    manifest: Count = 1_000_000
