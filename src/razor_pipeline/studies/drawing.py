"""One cell of a study on a text-to-image model: make it forget a concept, have it draw, judge what it drew."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from razor_pipeline.core.mentions import mentions, renamed
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.core.quantize import quantized
from razor_pipeline.core.weight_edit import applied
from razor_pipeline.datasets.retrained import Retrained, never_saw, origins, whole
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.drawing_exam import DrawingExam, Memory, looking_at
from razor_pipeline.families.images import check_sizes
from razor_pipeline.families.judges import Drawings
from razor_pipeline.families.prompt_search import words_before
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.textual_inversion import WORD, inverted
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.fingerprint import content_sha256
from razor_pipeline.interfaces import See
from razor_pipeline.params.evaluation import DrawingParams
from razor_pipeline.params.razor import AcceptanceParams, RazorParams
from razor_pipeline.params.studies import ConceptsParams
from razor_pipeline.studies.cells import Row
from razor_pipeline.studies.edits import cost, edit

logger = logging.getLogger(__name__)
GAP = ("forget_accuracy", "retain_accuracy", "general_accuracy")


@dataclass(frozen=True)
class Drawing:
    """A model that draws, and its judges.

    The control and what attacks bring back are asked the ``subset`` of the questions, quantized copies those of
    ``params.quantized_protocol``: they are further models to draw from for every target.

    Attributes:
        base: the model that knows the targets.
        judges: classifiers by name.
        drawing: sampler.
        params: protocol and quantization schemes.
        prompts: asked instead of the data's own; none where empty.
        retrained: gold standards; the first that never saw a target serves as its reference.
    """

    base: TextToImageFamily
    judges: Mapping[str, VitFamily]
    drawing: DrawingParams
    params: ConceptsParams
    prompts: Sequence[str] = ()
    retrained: Sequence[Retrained] = ()
    _drawn: dict[str, Memory] = field(default_factory=lambda: defaultdict(dict))

    def __post_init__(self) -> None:
        """Refuse attacks that the model's prompts can't be put to.

        Raises:
            ValueError: they are written for the one text encoder of Stable Diffusion 1 and 2, and it has others.
        """
        attacks = {"inversion": self.params.inversion, "prompt_search": self.params.prompt_search}
        asked = [name for name, attack in attacks.items() if attack is not None]
        if asked and not isinstance(self.base, DiffusionFamily):
            raise ValueError(
                f"concepts.{asked[0]} is set, which attacks the one text encoder of Stable Diffusion 1 and 2; "
                f"'{self.base.name}' has others: set concepts.{asked[0]} to null"
            )

    def identity(self) -> Any:
        """Where the models came from, and how they draw."""
        return [
            whole(self.base),
            {name: whole(judge) for name, judge in self.judges.items()},
            self.drawing,
            [content_sha256(Path(directory)) for directory in self.drawing.directories],
            list(self.prompts),
            origins(self.retrained),
        ]

    def erase(self, samples: pd.DataFrame, method: AcceptanceParams, seed: int) -> Row:
        """Edit, quantize, draw and judge; one flat row of figures.

        Raises:
            ValueError: an image is not square, or smaller than what the model draws, or prompts can't be asked; said
                before the edit.
        """
        base = self.base
        check_sizes(samples, base.size)
        protocols = self.params.protocol, "subset", self.params.quantized_protocol
        exam, subset, of_copies = (self.exam(samples, protocol) for protocol in protocols)
        result = edit(base, samples, method, seed, self._see(samples))
        gold = never_saw(self.retrained, exam.targets)
        apart = gold.beside(exam.targets) if gold else frozenset[str]()
        if not all(one.speaks_without(apart) for one in (exam, subset)):
            logger.warning(
                "All prompts name what the retrained model never saw either, so it is no yardstick."
            )
            gold, apart = None, frozenset()
        invert = partial(self._inverted, subset, samples, apart)
        search = partial(self._searched, subset, samples, apart)
        before = self.drawn_once(exam, base, "base")
        with applied(dict(base.module.named_parameters()), result.edit):
            drawn = exam.put_to(base)
            row = cost(result, base) | compare(exam.mark(drawn, before), exam.mark(before, before))
            # Who puts the original encoders back draws with what else was edited.
            row["ua_encoders_back"] = 1.0 - subset.target_share(base.with_frozen_encoders()).value
            row |= invert(base) | search(base)
            after = {
                s: of_copies.put_to(base.with_module(quantized(base.module, s))) for s in self.params.schemes
            }
        row |= {f"base_{name}": share for name, share in invert(base).items()}
        if gold:
            assert isinstance(gold.model, TextToImageFamily)
            standard = self.drawn_once(exam, gold.model, f"without {sorted(gold.excluded)}")
            row |= beside(exam.shares(standard, apart), exam.shares(drawn, apart))
            row |= _beyond(row, invert(gold.model) | search(gold.model))
        row |= self._without_forgetting(subset, samples, method, seed)
        for scheme, found in after.items():
            plain = self.drawn_once(of_copies, base.with_module(quantized(base.module, scheme)), scheme)
            marks = compare(of_copies.mark(found, plain), of_copies.mark(plain, plain))
            row |= {f"{scheme}_{name}": value for name, value in marks.items()}
        return row

    def _without_forgetting(
        self, exam: DrawingExam, samples: pd.DataFrame, method: AcceptanceParams, seed: int
    ) -> Row:
        """Control: the same edit without forgetting pressure or hardening, which should leave all as it was."""
        if not isinstance(method, RazorParams):
            return {}
        objective = method.objective.model_copy(update={"lambda_f": 0.0})
        method = method.model_copy(update={"objective": objective, "max_rounds": 1, "harden": None})
        off = edit(self.base, samples, method, seed, self._see(samples))
        plain = self.drawn_once(exam, self.base, "base")
        with applied(dict(self.base.module.named_parameters()), off.edit):
            marks = compare(exam.mark(exam.put_to(self.base), plain), exam.mark(plain, plain))
        return {f"no_forget_{name}": marks[name] for name in ("ua", "ira_drop", "cra_drop", "base_ua")}

    def _inverted(
        self, exam: DrawingExam, samples: pd.DataFrame, apart: Collection[str], model: TextToImageFamily
    ) -> Row:
        """How much of the target textual inversion brings back to a model as it is; the mean and worst of seeds.

        A model that still knows the target is one yardstick, what a new word can bring about at most; one that never
        saw it is the other.

        Args:
            exam: what the attacked model draws.
            samples: of which the attacker has some.
            apart: concepts whose prompts do not count.
            model: that is attacked.
        """
        params, rows = self.params.inversion, _named_rows(samples)
        if params is None or rows is None:
            return {}
        assert isinstance(model, DiffusionFamily)
        found = [inverted(model, rows, params, seed) for seed in params.seeds]
        shares = [exam.target_share(one, _by_word, apart).value for one in found]
        return {"inversion_share": fmean(shares), "inversion_share_worst": max(shares)}

    def _searched(
        self, exam: DrawingExam, samples: pd.DataFrame, apart: Collection[str], model: TextToImageFamily
    ) -> Row:
        """The same of words searched for and said before the prompts; they are kept with the figures."""
        params, rows = self.params.prompt_search, _named_rows(samples)
        if params is None or rows is None:
            return {}
        assert isinstance(model, DiffusionFamily)
        found = [words_before(model, rows, params, seed) for seed in params.seeds]
        shares = [exam.target_share(model, partial(_behind, words), apart).value for words in found]
        return {
            "prompt_search_share": fmean(shares),
            "prompt_search_share_worst": max(shares),
            "prompt_search_words": found,
        }

    def _see(self, samples: pd.DataFrame) -> See | None:
        return looking_at(self.base, samples, self.judges, self.drawing)

    def exam(self, samples: pd.DataFrame, protocol: str) -> DrawingExam:
        """The questions about the samples' targets under a protocol."""
        params = self.drawing.model_copy(update={"protocol": protocol})
        return DrawingExam(samples, self.judges, params, self.prompts)

    def drawn_once(self, exam: DrawingExam, model: TextToImageFamily, name: str) -> Drawings:
        """What a model draws that no target changes, base or retrained; a prompt and seed once for all targets."""
        return exam.put_to(model, self._drawn[name])


def _named_rows(samples: pd.DataFrame) -> pd.DataFrame | None:
    """What an attacker has of the target, new to the edit; None where no single piece of its prompts names it."""
    rows = samples[(samples["role"] == "forget") & (samples["split"] == "test")]
    one = rows["label"].nunique() == 1 and mentions(str(rows["prompt"].iloc[0]), str(rows["label"].iloc[0]))
    return rows if one else None


def _by_word(prompt: str, name: str) -> str:
    return renamed(prompt, name, WORD)


def _behind(words: str, prompt: str, _: str) -> str:
    return f"{words} {prompt}"


def _beyond(attacked: Row, retrained: Row) -> Row:
    """What the attacks made of the retrained model, and how much more of the edited one."""
    row: Row = {f"retrained_{name}": value for name, value in retrained.items()}
    for name in retrained:
        if name.endswith("_share"):
            row[f"{name.removesuffix('_share')}_beyond_retrained"] = attacked[name] - retrained[name]
    return row


def beside(standard: Mapping[str, Estimate], edited: Mapping[str, Estimate]) -> Row:
    """The retrained model's UA, IRA and CRA, and their mean absolute difference from the edited one's."""
    gaps = [abs(edited[name].value - standard[name].value) for name in GAP]
    return {
        "gap_to_retraining": fmean(gaps),
        "retrained_ua": 1.0 - standard["forget_accuracy"].value,
        "retrained_ira": standard["retain_accuracy"].value,
        "retrained_cra": standard["general_accuracy"].value,
    }


def compare(edited: Mapping[str, Estimate], base: Mapping[str, Estimate]) -> Row:
    """UnlearnCanvas' figures of an edited model, shares of 0 to 1, and how far they fell below the base's."""
    ua, ira = 1.0 - edited["forget_accuracy"].value, edited["retain_accuracy"].value
    cra = edited["general_accuracy"].value
    return {
        "ua": ua,
        "ira": ira,
        "cra": cra,
        "mean_ua_ira_cra": (ua + ira + cra) / 3.0,
        "ua_drawings": edited["forget_accuracy"].n,
        "kept_drawings": edited["general_accuracy"].n,
        "cra_with_target": edited["general_accuracy_with_target"].value,
        "ira_drop": base["retain_accuracy"].value - edited["retain_accuracy"].value,
        "cra_drop": base["general_accuracy"].value - edited["general_accuracy"].value,
        "blank_share": edited["blank_share"].value,
        "worst_class_loss": edited["worst_class_loss"].value,
        "drawn_as_before": edited["retrieval_agreement"].value,
        **{name: edited[name].value for name in ("judge_distance", "fid", "clip_score") if name in edited},
        **{f"base_{name}": base[name].value for name in ("fid", "clip_score") if name in base},
        "base_ua": 1.0 - base["forget_accuracy"].value,
        "base_ira": base["retain_accuracy"].value,
        "base_cra": base["general_accuracy"].value,
    }
