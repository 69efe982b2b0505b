"""Parameters of RAZOR, and what every method asks of its candidates."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from razor_pipeline.params.base import Count, Params, Positive, Share


class ObjectiveParams(Params):
    """Weights of the three-part loss ``L = lambda_r L_retain - lambda_f rho L_forget + lambda_m L_mismatch``.

    ``lambda_f`` and ``rho`` weigh the step that is searched for and, of a model that draws, the prompts that are led.
    Corrective steps against never-seen samples go by ``repair.calibrate``: nothing is forgotten where both are 0.
    """

    rho: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    lambda_f: Annotated[float, Field(ge=0.0)] = 1.0
    lambda_r: Annotated[float, Field(ge=0.0)] = 1.0
    lambda_m: Annotated[float, Field(ge=0.0)] = 20.0


class ScoringParams(Params):
    """The ratio-aware score ``phi = ||g_f|| / (||theta|| + eps) * (1 - cos(g_f, g_r))^alpha``.

    ``towers`` are the parts of the model that may be edited; None for all. ``depth`` is the share of each tower's
    layers, counted from its output, that may be. ``whitening_samples`` retain rows, to whole batches, are those whose
    inputs whiten the steps. ``processes`` share the pass of the scoring step, on each machine; one that does not
    answer for ``process_timeout`` seconds ends the step. Machines of a job all see ``process_folder``, a folder for
    what passes between the processes; None for a temporary one.
    """

    granularity: Literal["matrix", "head", "mixed"] = "matrix"
    alpha: Share = 0.5
    eps: Positive = 1e-8
    nearest: Annotated[int, Field(ge=0)] = 3
    batch_size: Count = 128
    retain_samples: Count | None = None
    whitening_samples: Count = 256
    towers: tuple[str, ...] | None = None
    depth: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    processes: Count = 1
    process_timeout: Positive = 600.0
    process_folder: str | None = None


def _none_or_several(evaluations: int) -> int:
    if evaluations == 1:
        raise ValueError("it should be 2 to 12, or 0 for no zero-step edit: one step is no search")
    return evaluations


class SearchParams(Params):
    """Search of the step size, a share of each component's norm, on the validation split.

    With 0 ``evaluations`` there is no zero-step edit, and the corrective steps begin at the base; a search takes two.
    """

    measure: Literal["knowledge_auc", "forget_accuracy"] = "knowledge_auc"
    goal: Share = 0.75
    first_step: Positive = 0.08
    largest_step: Positive = 1.28
    evaluations: Annotated[int, Field(ge=0, le=12), AfterValidator(_none_or_several)] = 6


class ResistParams(Params):
    """Whom the corrective steps make it hard for (:mod:`razor_pipeline.methods.simulated_attacker`).

    ``strength`` is the length of this part of a corrective step, as a share of the step's. He attacks before every
    ``every``-th step; in between, what he last showed counts.
    """

    strength: Positive = 0.6
    every: Count = 2
    steps: Count = 5
    images: Count = 16
    learning_rate: Positive = 1e-4


class RepairParams(Params):
    """Few corrective steps behind the zero-step edit, with all gradients taken again.

    ``samples`` are the most images of a kind that are held: the target's, others, and those nearest to the target.
    What is kept is taken in ``turns``: a step looks at one in so many of these images, the next step at the next ones.
    Where the yardstick is an anchor, a step is ``evaluations`` of L-BFGS over all prompts, or fewer where the loss is
    down to ``enough`` of what it was, and nothing else is asked for but their ``damping``. Where a model is asked by
    free text, each step also closes the gap of ``slips`` misspelt names of each target
    (:mod:`razor_pipeline.methods.slips`); where it answers questions, that of ``suggestions`` images of each target,
    and as many never-seen ones, asked whether they show it (:mod:`razor_pipeline.methods.suggestions`).
    Where the gap is not solved for (``calibrate: 0``), none of these nor ``resist`` nor what was forgotten earlier
    play a part.
    """

    steps: Annotated[int, Field(ge=0, le=50)] = 8
    step: Positive = 0.02
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    calibrate: Share = 0.5
    damping: Positive = 0.1
    samples: Count = 256
    turns: Count = 4
    evaluations: Count = 20
    enough: Share = 0.01
    slips: Annotated[int, Field(ge=0)] = 24
    suggestions: Annotated[int, Field(ge=0)] = 60
    resist: ResistParams | None = ResistParams()


class WordParams(Params):
    """A new word that is taught to a model that draws, from some images of a concept (textual inversion)."""

    images: Count = 16
    steps: Count = 100
    batch_size: Count = 16
    learning_rate: Positive = 5e-3


class HardenParams(Params):
    """Rounds against those who teach the model a new word (:mod:`razor_pipeline.methods.hardening`).

    In each round an attacker learns a ``word`` for every target, and in ``steps`` of Adam the denoiser's body, its best
    ``components`` within ``max_edited_share``, unlearns what all words so far stand for; behind each step the attacker
    takes ``follow`` more. ``lessons`` are noised images of a kind, the target's and others; a step looks at ``led`` and
    ``kept`` of them, and what is kept weighs ``keep`` times as much.
    """

    rounds: Count = 4
    word: WordParams = WordParams()
    follow: Annotated[int, Field(ge=0)] = 1
    components: Count = 64
    lessons: Count = 1024
    steps: Count = 100
    led: Count = 24
    kept: Count = 40
    keep: Positive = 2.0
    learning_rate: Positive = 3e-4


class AcceptanceParams(Params):
    """What every method asks of its candidates on the validation split (:mod:`razor_pipeline.methods.acceptance`).

    ``max_forget_accuracy`` holds for the share of answers, too, in which a model that answers questions agrees that the
    target is there. ``max_class_loss`` is the share of its images that any one class may lose, beyond doubt: the lower
    end of the 95 % interval counts. ``auc_tolerance`` is how far the AUC may lie from ``auc_goal``; None where accuracy
    and retention alone decide, as they do on a model that draws, of which ``max_class_loss`` is not asked either.
    ``anchor`` is the concept that takes the target's place there; None for the nearest.
    """

    max_forget_accuracy: Share = 0.0
    auc_goal: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.45
    auc_tolerance: Share | None = 0.075
    max_retain_drop: Share = 0.01
    max_class_loss: Share = 0.25
    anchor: str | None = None


class RazorParams(AcceptanceParams):
    """RAZOR: objective, selection, step search, repair and expansion."""

    scoring: ScoringParams = ScoringParams()
    objective: ObjectiveParams = ObjectiveParams()
    components: Count = 16
    max_edited_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    tau: Annotated[float, Field(ge=0.0)] | None = None
    per_tower: bool = False
    project: bool = True
    damping: Positive | None = 0.001
    search: SearchParams = SearchParams()
    repair: RepairParams = RepairParams()
    harden: HardenParams | None = None
    max_rounds: Annotated[int, Field(ge=1, le=6)] = 6
    allow_no_baseline: bool = False

    @model_validator(mode="after")
    def _edits(self) -> Self:
        if not self.search.evaluations and not self.repair.steps:
            raise ValueError(
                "search.evaluations and repair.steps are both 0, so nothing would be edited; set one"
            )
        return self
