"""One frozen, validated record per parameter group of ``conf/*/parameters*.yml``.

Kedro validates a node's ``params:<group>`` input against these records before any node runs: an unknown key,
a wrong type or a value out of range stops the run with a sentence that names it. This module is a leaf: of
the project it imports the wording of refusals and nothing else.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from razor_pipeline.param_errors import ParameterError, refusal

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Scheme = Literal["int8", "int4", "nf4"]


def _separated(value: Any) -> Any:
    """``"A|B"`` as a list: ``kedro run --params`` has no way to write a list of names with spaces."""
    return tuple(name.strip() for name in value.split("|")) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_separated)]


class Params(BaseModel):
    """Base of every parameter group: immutable, and closed to unknown keys, NaN and infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """As pydantic's; a refusal is a sentence that names the key, the value and the rule.

        Raises:
            ParameterError: a key is unknown or a value not allowed.
        """
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise ParameterError(refusal(error, cls)) from error


class SplitCounts(Params):
    """Images per class in each split of a generated data set."""

    edit: Annotated[int, Field(ge=0)] = 40
    validation: Annotated[int, Field(ge=0)] = 12
    test: Annotated[int, Field(ge=0)] = 16


class AtelierParams(Params):
    """The generated benchmark: portraits of named people and a canvas of objects x styles.

    ``passersby`` are portraits of people without a name, each of somebody else: from them a model that answers
    questions learns to say that it does not know.
    """

    seed: Annotated[int, Field(ge=0)] = 7
    image_size: Annotated[int, Field(ge=32, le=512)] = 64
    portraits: SplitCounts = SplitCounts(edit=60, validation=12, test=16)
    canvas: SplitCounts = SplitCounts(edit=20, validation=2, test=4)
    passersby: SplitCounts = SplitCounts(edit=0, validation=0, test=0)


class DataParams(Params):
    """Where the image-caption pairs come from, and which files are refused.

    ``source`` is ``atelier`` (generated), ``digits`` (scikit-learn's, handwritten), ``folder``
    (``<class>/<image>``, or tar shards in WebDataset's layout, as ``path`` holds), ``styles``
    (``<style>/<object>/<image>``, UnlearnCanvas' layout) or ``manifest`` (csv or
    parquet with ``image_path`` and ``caption``). Folders and the
    digits are split by ``split_counts``, images per class, or else by the two shares. ``concept`` is what
    requests name: with ``style``, label and style change places; with ``combination`` it is an object in a style
    ("cat in Mosaic"), and neither alone. ``captions: class`` makes the data of a
    classifier: the name of the class is the caption; ``answer`` that of a model which answers questions: the label is
    the answer.
    """

    source: Literal["atelier", "digits", "folder", "styles", "manifest"] = "atelier"
    concept: Literal["label", "style", "combination"] = "label"
    captions: Literal["given", "class", "answer"] = "given"
    path: str | None = None
    domain: str = "images"
    caption_template: str = "a photo of {label}"
    validation_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    split_counts: SplitCounts | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    reference_labels: tuple[str, ...] = ()
    min_images_per_split: Count = 1
    max_megapixels: Positive = 50.0
    max_quarantined_share: Share = 0.05

    @property
    def reads_files(self) -> bool:
        """Whether the images are files that may change without a parameter changing."""
        return self.source in ("folder", "styles", "manifest")

    @model_validator(mode="after")
    def _needs_path(self) -> DataParams:
        if self.reads_files and not self.path:
            raise ValueError(
                f"data.source is '{self.source}', which needs data.path: set it to the folder or manifest"
            )
        for field in ("{label}", "{style}") if self.source == "styles" else ("{label}",):
            if field not in self.caption_template:
                raise ValueError(
                    f"data.caption_template is '{self.caption_template}', which lacks {field}: without it, prompts of "
                    f"different concepts are the same; put {field} in"
                )
        if self.validation_share + self.test_share >= 1.0:
            raise ValueError(
                "data.validation_share + data.test_share must stay below 1, so that edit is not empty"
            )
        return self


class SplittingParams(Params):
    """How the forget and retain sets are drawn from the prepared manifest."""

    min_forget_images: Count = 3
    max_retain_samples: Count = 1024
    max_validation_samples: Count = 400


class ObjectiveParams(Params):
    """Weights of the three-part loss ``L = L_retain - lambda_f * rho * L_forget + lambda_m * L_mismatch``."""

    rho: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    lambda_f: Annotated[float, Field(ge=0.0)] = 1.0
    lambda_r: Annotated[float, Field(ge=0.0)] = 1.0
    lambda_m: Annotated[float, Field(ge=0.0)] = 20.0


class ScoringParams(Params):
    """The ratio-aware score ``phi = ||g_f|| / (||theta|| + eps) * (1 - cos(g_f, g_r))^alpha``.

    ``towers`` are the parts of the model that may be edited; None for all. ``depth`` is the share of each tower's
    layers, counted from its output, that may be. ``processes`` share the pass of the scoring step, on each machine; one
    that does not answer for ``process_timeout`` seconds ends the step. Machines of a job all see ``process_folder``, a
    folder for what passes between the processes; None for a temporary one.
    """

    granularity: Literal["matrix", "head", "mixed"] = "matrix"
    alpha: Share = 0.5
    eps: Positive = 1e-8
    nearest: Annotated[int, Field(ge=0)] = 3
    batch_size: Count = 128
    retain_samples: Count | None = None
    towers: tuple[str, ...] | None = None
    depth: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    processes: Count = 1
    process_timeout: Positive = 600.0
    process_folder: str | None = None


class ClipArchitecture(Params):
    """Sizes of a small CLIP: both towers share width and heads."""

    width: Count = 128
    vision_layers: Count = 4
    text_layers: Count = 3
    heads: Count = 4
    patch_size: Count = 8
    projection: Count = 128
    vocabulary: Annotated[int, Field(ge=300)] = 1024
    context: Count = 24


class VitArchitecture(Params):
    """Sizes of a small ViT classifier."""

    width: Count = 128
    layers: Count = 4
    heads: Count = 4
    patch_size: Count = 8


class AutoencoderArchitecture(Params):
    """Sizes of a small autoencoder; every level but the last halves the picture."""

    channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (16, 32, 64, 128)
    latent_channels: Count = 16


class LatentDiffusionArchitecture(Params):
    """The trained models that a small Stable Diffusion is built on, and how its denoiser learns."""

    text_encoder: str = "data/01_raw/zoo/clip"
    autoencoder: str = "data/01_raw/zoo/autoencoder"
    ema_decay: Share = 0.999
    caption_dropout: Share = 0.1


class DiffusionArchitecture(LatentDiffusionArchitecture):
    """Sizes of a small Stable Diffusion."""

    unet_channels: Annotated[tuple[Count, ...], Field(min_length=1)] = (96, 160)
    unet_heads: Count = 4


class Diffusion3Architecture(LatentDiffusionArchitecture):
    """Sizes of a small Stable Diffusion 3, and its second text encoder."""

    text_encoder_2: str = "data/01_raw/zoo/clip_without_a"
    width: Count = 160
    heads: Count = 5
    layers: Count = 6


class VlmArchitecture(Params):
    """Sizes of a small LLaVA, the CLIP whose vision tower it has, and its two stages.

    ``reading_epochs`` come first, with the tower as it is; then ``pretraining.epochs`` of all weights at
    ``tuning_rate`` times the learning rate. ``neutral`` questions are asked at every visit to an image.
    """

    vision: str = "data/01_raw/zoo/clip"
    width: Count = 128
    layers: Count = 3
    heads: Count = 4
    feed_forward: Count = 256
    vocabulary: Annotated[int, Field(ge=300)] = 1280
    context: Count = 256
    neutral: Count = 2
    reading_epochs: Count = 5
    tuning_rate: Share = 0.15


class PretrainingParams(Params):
    """Training of a small model from random weights on ``splits``, without the classes of ``exclude``."""

    family: Literal["clip", "vit", "autoencoder", "diffusion", "diffusion3", "vlm"] = "clip"
    seed: Annotated[int, Field(ge=0)] = 11
    image_size: Annotated[int, Field(ge=16)] = 64
    epochs: Count = 48
    batch_size: Annotated[int, Field(ge=8)] = 64
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.1
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    warmup_share: Share = 0.1
    mirror: bool = True
    splits: tuple[Literal["edit", "validation", "test"], ...] = ("edit",)
    exclude: tuple[str, ...] = ()
    clip: ClipArchitecture = ClipArchitecture()
    vit: VitArchitecture = VitArchitecture()
    autoencoder: AutoencoderArchitecture = AutoencoderArchitecture()
    diffusion: DiffusionArchitecture = DiffusionArchitecture()
    diffusion3: Diffusion3Architecture = Diffusion3Architecture()
    vlm: VlmArchitecture = VlmArchitecture()


class RetrainingParams(Params):
    """Gold standards: ``groups`` maps the name of one to the classes that it is trained without."""

    groups: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}


class QuantizationParams(Params):
    """Weight-only quantization schemes that the edited model is checked under."""

    schemes: tuple[Scheme, ...] = ("int8", "int4")


class DrawingParams(Params):
    """How a text-to-image model is examined: UnlearnCanvas' seeds for every prompt, or a named subset of them.

    ``subset`` draws every prompt that names the target, two of every other concept, each with the first two seeds.
    From ``validation_seeds`` is drawn what an edit is prepared with; they are none of ``seeds``. ``fid`` compares the
    drawings of what is kept with the test images; ``clip_score`` is the CLIP that CLIPScore takes: a directory, or
    ``id@revision`` on the hub.
    """

    protocol: Literal["unlearncanvas", "subset"] = "unlearncanvas"
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (188, 288, 588, 688, 888)
    validation_seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1)
    steps: Count = 20
    guidance: Annotated[float, Field(ge=1.0)] = 3.0
    batch_size: Count = 48
    fid: bool = False
    clip_score: str | None = None

    @model_validator(mode="after")
    def _nothing_is_chosen_on_the_test(self) -> DrawingParams:
        if both := set(self.seeds) & set(self.validation_seeds):
            raise ValueError(
                f"evaluation.drawing.validation_seeds holds {min(both)}, which is one of evaluation.drawing.seeds; "
                "nothing may be chosen on what the test draws: use other seeds"
            )
        return self


class QuestionParams(Params):
    """How an assistant is examined: neutral questions of each category, and questions that are answered at once."""

    per_category: Count = 200
    batch_size: Count = 256


class EvaluationParams(Params):
    """What the examination shows, how it has a text-to-image model draw, and what it asks an assistant."""

    panel_images: Count = 4
    drawing: DrawingParams = DrawingParams()
    questions: QuestionParams = QuestionParams()


class SearchParams(Params):
    """Search of the step size, a share of each component's norm, on the validation split."""

    measure: Literal["knowledge_auc", "forget_accuracy"] = "knowledge_auc"
    goal: Share = 0.75
    first_step: Positive = 0.08
    largest_step: Positive = 1.28
    evaluations: Annotated[int, Field(ge=2, le=12)] = 6


class ResistParams(Params):
    """A simulated attacker whom the corrective steps make it hard for (:mod:`razor_pipeline.methods.resistance`).

    ``strength`` is the length of this part of a corrective step, as a share of the step's.
    """

    strength: Positive = 0.6
    steps: Count = 5
    images: Count = 16
    learning_rate: Positive = 1e-4


class RepairParams(Params):
    """Few corrective steps behind the zero-step edit, with all gradients taken again.

    ``samples`` are the most images of a kind that are held: the target's, others, and those nearest to the target.
    What is kept is taken in ``turns``: a step looks at one in so many of these images, the next step at the next ones.
    Where the yardstick is an anchor, a step is ``evaluations`` of L-BFGS, and its length is not asked for. ``resist``
    plays no part there, nor where the gap is not solved for (``calibrate: 0``).
    """

    steps: Annotated[int, Field(ge=0, le=50)] = 8
    step: Positive = 0.02
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    calibrate: Share = 0.5
    damping: Positive = 0.1
    samples: Count = 512
    turns: Count = 4
    evaluations: Count = 20
    resist: ResistParams | None = ResistParams()


class AcceptanceParams(Params):
    """What every method asks of its candidates on the validation split (:mod:`razor_pipeline.methods.acceptance`).

    ``anchor`` is the concept that takes the target's place where a model draws; None for the nearest.
    """

    max_forget_accuracy: Share = 0.0
    auc_goal: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.45
    auc_tolerance: Share = 0.075
    max_retain_drop: Share = 0.01
    anchor: str | None = None


class RazorParams(AcceptanceParams):
    """RAZOR: objective, selection, step search, repair and expansion."""

    scoring: ScoringParams = ScoringParams()
    objective: ObjectiveParams = ObjectiveParams()
    components: Count = 16
    max_edited_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    tau: float | None = None
    per_tower: bool = False
    project: bool = True
    damping: Positive | None = 0.001
    search: SearchParams = SearchParams()
    repair: RepairParams = RepairParams()
    max_rounds: Annotated[int, Field(ge=1, le=6)] = 6
    allow_no_baseline: bool = False


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
    """SSD: one dampening per selection weight alpha, always from the original weights."""

    selections: Rates = (2.0, 5.0, 10.0, 25.0, 50.0)
    dampening: Positive = 1.0
    retain_samples: Count = 256


class SlugParams(AcceptanceParams):
    """SLUG: one layer of the Pareto front, one gradient, the step by bisection."""

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


class RelearningParams(Params):
    """The relearning attack: full fine-tuning with Adam on a few forget images."""

    images: Count = 4
    steps: Count = 20
    learning_rate: Positive = 1e-4
    threshold: Share = 0.8


class StudyParams(Params):
    """A study over targets and seeds; each pair is a cell that is kept once it is done."""

    targets: Names = ()
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1)
    schemes: tuple[Scheme, ...] = ("int8", "int4")
    relearning: RelearningParams | None = RelearningParams()


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


Method = Literal["razor", "ft", "ga", "gaft", "salun", "ssd", "slug", "esd", "uce", "salun_diffusion"]


class BenchmarkParams(StudyParams):
    """Methods x targets x seeds; a model that draws is compared by what ``evaluation.drawing`` has it draw."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2)
    methods: tuple[Method, ...] = ("razor", "ft", "ga", "gaft", "salun", "ssd", "slug")
    peers: PeersParams = PeersParams()


class InversionParams(Params):
    """Textual inversion by an attacker with some images of the concept, once per seed."""

    images: Count = 16
    steps: Count = 300
    batch_size: Count = 16
    learning_rate: Positive = 5e-3
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1)


class ConceptsParams(StudyParams):
    """The study on a text-to-image model; quantized copies always draw the subset."""

    relearning: None = None
    inversion: InversionParams | None = None
    protocol: Literal["unlearncanvas", "subset"] = "unlearncanvas"


class SequenceParams(ConceptsParams):
    """Requests on one model, in this order."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)


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

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    relearning: None = None
    attacks: AttackParams = AttackParams()


class AblationParams(StudyParams):
    """The study over variants of RAZOR: ``variants`` maps a name to what differs from the ``razor`` parameters."""

    variants: dict[str, dict[str, Any]] = {}


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
    """

    model: str = "data/01_raw/zoo/clip"
    family: str = "clip"
    blocks: dict[str, Count] = {}
    pixels: Annotated[int, Field(ge=16)] | None = None
    captions: Literal["given", "class", "answer"] = "given"
    classes: Annotated[int, Field(ge=3)] | None = None
    forget: Count | None = None
    validation: Count | None = None
    reference: Annotated[int, Field(ge=2)] | None = None
    retain: Annotated[int, Field(ge=2)] | None = None
    razor: dict[str, Any] = {}
    targets: Count = 1
    slug: bool = True
    finetune: bool = True


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
    """

    targets: Names = ()
    only: str = ""
    sizes: dict[str, BenchSize] = {}
    growth: dict[Literal["retain", "forget", "components", "targets"], tuple[Count, ...]] = {}
    growth_of: str = "clip_few"
    slug: SlugParams = SlugParams(layers=1)
    epochs: Count = 10


class MemoryParams(Params):
    """Rows of the passes and of the manifest whose memory is measured."""

    passes: Annotated[tuple[Count, ...], Field(min_length=1)] = (1_000, 10_000, 100_000)
    manifest: Count = 1_000_000


class ReportingParams(Params):
    """When the report calls a target forgotten, and what it counts as a cost; shares of 0 to 1.

    Forgotten: every edited model, quantized ones included, recognises the target's test images at most
    ``max_forget_accuracy`` often, and the membership AUC is at most ``max_membership_auc``. At a cost:
    forgotten, but a drop exceeds its limit or the AUC lies below ``min_membership_auc``, where the deletion
    itself shows.
    """

    max_forget_accuracy: Share = 0.03
    max_membership_auc: Share = 0.6
    min_membership_auc: Share = 0.35
    max_retain_drop: Share = 0.01
    max_near_twin_drop: Share = 0.02
    max_general_drop: Share = 0.005
    max_quantized_retain_drop: Share = 0.005
    max_blank_share: Share = 0.0
    max_degenerate_rise: Share = 0.01


class GateParams(Params):
    """What a request must show on the test split to be promoted; shares of 0 to 1, drops against the line's base model.

    ``max_forget_accuracy`` holds for the target, for every target forgotten before it and for their quantized copies.
    The membership AUC has a wide window: on test even a retrained model's lies anywhere (docs/benchmarks.md).
    """

    max_forget_accuracy: Share = 0.02
    max_retain_drop: Share = 0.02
    max_general_drop: Share = 0.03
    max_quantized_retain_drop: Share = 0.02
    max_membership_auc: Share = 0.75
    min_relearn_steps: Annotated[int, Field(ge=0)] = 0


class RequestsParams(Params):
    """The ledger of requests and what happens to those that are due.

    Attributes:
        model: name of the line of models of this environment, in the ledger and in MLflow's registry.
        ledger: address of the database; the environment variable ``RAZOR_LEDGER`` wins.
        folder: versions of the models, each with its evidence.
        reports: dashboard and anchors of the audit log.
        data_root: folder of the images that requests bring along.
        approvals: different people who must approve a request before it runs.
        promotion: whether what passes its gates serves at once, or after an approval.
        lease_seconds: how long a worker that gives no sign keeps the others waiting.
        wait_seconds: how long to wait for another worker on the same model; 0 refuses at once.
        private_key: signs evidence; made by ``kedro unlearning key``.
        public_key: checks it.
        only: ids to run; all that are approved where none is given.
        take_out: id of a promoted request whose edit is to be taken out instead.
        actor: who does that.
    """

    model: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "clip"
    ledger: str = "sqlite:///data/requests.db"
    folder: str = "data/06_models/requests"
    reports: str = "data/08_reporting/requests"
    data_root: str = "data/01_raw/requests"
    approvals: Count = 1
    promotion: Literal["automatic", "approval"] = "automatic"
    lease_seconds: Positive = 120.0
    wait_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    private_key: str = "conf/local/evidence_key.pem"
    public_key: str = "conf/local/evidence_key.pub.pem"
    only: tuple[str, ...] = ()
    take_out: str | None = None
    actor: str = "system-0"
    gates: GateParams = GateParams()

    @property
    def reads_files(self) -> bool:
        """The ledger changes without a parameter changing: the step is never up to date."""
        return True
