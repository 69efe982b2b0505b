"""Parameters of the methods that RAZOR is compared with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from razor_pipeline.params.base import Count, Params, Positive
from razor_pipeline.params.razor import AcceptanceParams, ScoringParams

Rates = Annotated[tuple[Positive, ...], Field(min_length=1)]


class TrainingParams(AcceptanceParams):
    """Full fine-tuning with AdamW: one training per learning rate, the best epoch of all is kept.

    Batch size, epochs, weight decay and schedule are those of SLUG's code (arXiv 2407.11867); its learning rates of
    1e-7 to 1e-6 are for models a hundred times larger.
    """

    learning_rates: Rates = (3e-6, 1e-5, 3e-5, 1e-4, 3e-4)
    epochs: Count = 10
    batch_size: Annotated[int, Field(ge=2)] = 32
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1


class FinetuneParams(TrainingParams):
    """FT descends the retain loss, GA ascends the forget loss, GAFT does both in turn, epoch by epoch."""

    objective: Literal["ft", "ga", "gaft"] = "gaft"


class SalunParams(TrainingParams):
    """SalUn: the forget set under other names and the retain set, within the salient share of the weights."""

    salient_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5


class SsdParams(AcceptanceParams):
    """SSD: one dampening per selection weight alpha, always from the original weights.

    The source's values, 2 to 50, end where a classifier still loses what it is to keep: it has the target's images in
    the set that it divides by, and here they are not.
    """

    selections: Rates = (2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
    dampening: Positive = 1.0
    retain_samples: Count = 256


class SlugParams(AcceptanceParams):
    """SLUG: one layer, one gradient, the step by bisection; at most ``layers`` of each tower's front are tried."""

    scoring: ScoringParams = ScoringParams(nearest=0)
    evaluations: Annotated[int, Field(ge=2, le=20)] = 10
    layers: Count = 5


class LessonsParams(TrainingParams):
    """Training of a denoiser on so many noisy latents of the target, each at one time.

    The sources' rate of 1e-5 over 1,000 steps is for a model a hundred times larger.
    """

    learning_rates: Rates = (1e-4, 3e-4, 1e-3)
    epochs: Count = 3
    batch_size: Annotated[int, Field(ge=2)] = 8
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    lessons: Annotated[int, Field(ge=2)] = 128


class EsdParams(LessonsParams):
    """ESD-x: ``e0(x) - guidance (e0(x, c) - e0(x))`` is taught to the cross-attention."""

    guidance: Positive = 1.0


class UceParams(AcceptanceParams):
    """UCE: one closed form per weight of the target's prompts, ``erase_scales``.

    ``preserve_scale`` weighs the prompts that are kept, ``ridge`` (lambda) the original weights.
    """

    erase_scales: Rates = (1.0, 3.0, 10.0, 30.0, 100.0)
    preserve_scale: Positive = 1.0
    ridge: Positive = 0.5


class SalunDiffusionParams(LessonsParams):
    """SalUn where a model draws; ``retain_weight`` is its alpha."""

    salient_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    retain_weight: Annotated[float, Field(ge=0.0)] = 0.1


class PeersParams(Params):
    """The methods that RAZOR is compared with; each searches its hyper-parameter on validation."""

    ft: FinetuneParams = FinetuneParams(objective="ft")
    ga: FinetuneParams = FinetuneParams(objective="ga")
    gaft: FinetuneParams = FinetuneParams(objective="gaft")
    salun: SalunParams = SalunParams()
    ssd: SsdParams = SsdParams()
    slug: SlugParams = SlugParams()
    esd: EsdParams = EsdParams()
    uce: UceParams = UceParams()
    salun_diffusion: SalunDiffusionParams = SalunDiffusionParams()


COMPARED = ("razor", *PeersParams.model_fields)


def _known(name: str) -> str:
    if name not in COMPARED:
        raise ValueError(f"it must be one of {', '.join(COMPARED)}")
    return name


Method = Annotated[str, AfterValidator(_known)]
