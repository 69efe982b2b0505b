"""Parameters of quantization, of the examination and of its verdict."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from razor_pipeline.params.base import Count, Params, Recognised, Schemes, Seeds, Share

Protocol = Literal["unlearncanvas", "subset"]


class QuantizationParams(Params):
    """Weight-only quantization schemes that the edited model is checked under."""

    schemes: Schemes = ("int8", "int4")


class DrawingParams(Params):
    """How a text-to-image model is examined: UnlearnCanvas' seeds for every prompt, or a named subset of them.

    ``subset`` draws every prompt that names the target, two of every other concept, each with the first two seeds.
    A target of too few prompts for ``target_drawings`` is drawn from further seeds, until there are as many of it.
    From ``validation_seeds`` is drawn what an edit is prepared with; they are none of ``seeds``. ``fid`` compares the
    drawings of what is kept with the test images; ``clip_score`` is the CLIP that CLIPScore takes: a directory, or
    ``id@revision`` on the hub.
    """

    protocol: Protocol = "unlearncanvas"
    seeds: Seeds = (188, 288, 588, 688, 888)
    validation_seeds: Seeds = (0, 1)
    target_drawings: Annotated[int, Field(ge=0)] = 0
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

    @property
    def unpublished(self) -> DrawingParams:
        """The same without FID and CLIPScore, and so without the libraries and weights that they take."""
        return self.model_copy(update={"fid": False, "clip_score": None})

    @property
    def directories(self) -> tuple[str, ...]:
        """Of the model that CLIPScore takes, where it is one."""
        return (self.clip_score,) if self.clip_score else ()


class QuestionParams(Params):
    """How an assistant is examined: neutral questions of each category, and questions that are answered at once."""

    per_category: Count = 200
    batch_size: Count = 256


class EvaluationParams(Params):
    """What the examination shows, how it has a text-to-image model draw, and what it asks an assistant."""

    panel_images: Count = 4
    drawing: DrawingParams = DrawingParams()
    questions: QuestionParams = QuestionParams()

    @property
    def directories(self) -> tuple[str, ...]:
        """Of models whose weights the figures depend on."""
        return self.drawing.directories


class ReportingParams(Params):
    """When the report calls a target forgotten, and what it counts as a cost; shares of 0 to 1.

    Forgotten: every edited model, quantized ones included, recognises the target's test images at most
    ``max_forget_accuracy`` often, and the membership AUC is at most ``max_membership_auc``. At a cost:
    forgotten, but a drop exceeds its limit, one class that is kept has lost more than ``max_class_loss`` of its
    images beyond doubt (the lower end of the interval), or the AUC lies below ``min_membership_auc``, where the
    deletion itself shows. Where the data has no never-seen classes, the AUC plays no part.
    Where judges see what was asked for in fewer than ``min_judged`` of an unedited model's drawings, the report says
    that a loss may go unseen.
    """

    max_forget_accuracy: Recognised = 0.03
    max_membership_auc: Share = 0.6
    min_membership_auc: Share = 0.35
    max_retain_drop: Share = 0.01
    max_class_loss: Share = 0.25
    max_near_twin_drop: Share = 0.02
    max_general_drop: Share = 0.005
    max_quantized_retain_drop: Share = 0.005
    max_blank_share: Share = 0.0
    max_degenerate_rise: Share = 0.01
    min_judged: Share = 0.9
