"""What an assistant still says: questions with greedy answers about the test split.

Forget accuracy (FA) is the share of answers that contain the target's name, by kind of question: phrasings that the
model may have learnt, held-out phrasings, both behind examples, leading questions and names to choose from. Letter case
does not count.

Shapes: N questions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from razor_pipeline.atelier.questions import UNKNOWN
from razor_pipeline.core import metrics
from razor_pipeline.core.cached import FORWARD_BATCH, CachedBatches
from razor_pipeline.core.mentions import mentions, mentions_itself
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.families.asks import KINDS, all_asks, degenerate, first_word, right
from razor_pipeline.families.images import decoded
from razor_pipeline.families.marks import leakage, panel_of, ties, with_lost, worst_membership
from razor_pipeline.families.vlm import VlmFamily
from razor_pipeline.manifest import asked_once, reference_rows
from razor_pipeline.params.evaluation import QuestionParams

Said = tuple[str, float]
Memory = MutableMapping[tuple[str, str], Said]


@dataclass(frozen=True)
class QuestionAnswers:
    """What one model says.

    Attributes:
        text: [N] greedy answers.
        log_p: [N] mean log-probability of an answer's tokens.
        member: target -> log-probability of its name for its edit images.
        held_out: target -> the same for its test images.
        nonmember: target -> the same for never-seen images.
    """

    text: NDArray[np.str_]
    log_p: NDArray[np.float64]
    member: dict[str, NDArray[np.float32]]
    held_out: dict[str, NDArray[np.float32]]
    nonmember: dict[str, NDArray[np.float32]]


class QuestionExam:
    """The questions, prepared once and put to every model alike.

    Args:
        family: any model of the family that is to be examined; it encodes the images.
        samples: manifest rows with roles; the test split and the targets' edit images are used, each image once.
        params: how many neutral questions are asked.
    """

    def __init__(self, family: VlmFamily, samples: pd.DataFrame, params: QuestionParams) -> None:
        self.params, samples = params, asked_once(samples)
        forget = samples[samples["role"] == "forget"]
        self.targets, self.domain = sorted(set(forget["label"])), str(forget["domain"].iloc[0])
        own = samples[samples["domain"] == self.domain]
        self.names = sorted(set(own.loc[own["role"] != "reference", "label"]) - {UNKNOWN})
        self.prompts = {self.domain: {name: (name,) for name in self.names}}
        test = samples[(samples["split"] == "test") & (samples["role"] != "reference")]
        self.rows = test.reset_index(drop=True)
        self.asks = all_asks(self.rows, self.targets, self.domain, self.names, params.per_category)
        members = own[(own["role"] == "forget") & (own["split"] == "edit")]
        self.members = {
            t: CachedBatches(family.batches(members[members["label"] == t], FORWARD_BATCH))
            for t in self.targets
        }
        self.held_out = {
            t: CachedBatches(family.batches(test[test["label"] == t], FORWARD_BATCH)) for t in self.targets
        }
        reference = reference_rows(own, "test")
        self.reference, self.reference_labels = (
            CachedBatches(family.batches(reference, FORWARD_BATCH)),
            reference["label"],
        )

    def put_to(self, family: VlmFamily, memory: Memory | None = None) -> QuestionAnswers:
        """Examine a model as it is; ``memory`` holds what it has answered before, and is added to."""
        memory = {} if memory is None else memory
        keys = list(zip(self.asks["sample_id"], self.asks["question"], strict=True))
        todo = {key: i for i, key in enumerate(keys) if key not in memory}
        places = list(todo.values())
        for start in range(0, len(places), self.params.batch_size):
            part = self.asks.iloc[places[start : start + self.params.batch_size]]
            shown, index = np.unique(part["place"], return_inverse=True)
            images, prefixes = family.chat.seen(decoded(self.rows.iloc[shown]))
            images = {name: tensor[index] for name, tensor in images.items()}
            texts, log_p = family.answer(images, [prefixes[i] for i in index], list(part["question"]))
            said = zip(texts, log_p.tolist(), strict=True)
            memory.update(zip(zip(part["sample_id"], part["question"], strict=True), said, strict=True))
        names, reference = self.prompts[self.domain], dict.fromkeys(self.targets, self.reference)
        return QuestionAnswers(
            np.array([memory[key][0] for key in keys]),
            np.array([memory[key][1] for key in keys]),
            *(ties(family, images_of, names) for images_of in (self.members, self.held_out, reference)),
        )

    def mark(
        self,
        answers: QuestionAnswers,
        base: QuestionAnswers,
        retrained_auc: float = 0.5,
        leave_out: Collection[str] = (),
    ) -> dict[str, Estimate]:
        """The metrics of one model, those of ``docs/metrics.md``, each with its interval and sample count.

        Args:
            answers: of the model.
            base: of the base model.
            retrained_auc: the membership AUC that a model without the targets has.
            leave_out: labels; questions about their images do not count.
        """
        counted = ~self.asks["label"].isin(leave_out).to_numpy()
        asks, hits, text = self.asks[counted], self.right(answers)[counted], answers.text[counted]
        each = [self.named(answers, target) for target in self.targets]
        asked = [kind for kind in KINDS if any(kind in one for one in each)]
        forget = {kind: metrics.worst([one[kind] for one in each if kind in one]) for kind in asked}
        retain, neutral = (asks["kind"] == "retain").to_numpy(), (asks["kind"] == "neutral").to_numpy()
        found = {
            "forget_accuracy": metrics.worst(list(forget.values())),
            **{f"forget_accuracy_{kind}": estimate for kind, estimate in forget.items()},
            "retain_accuracy": _macro(hits[retain], asks.loc[retain, "label"]),
            "worst_class_loss": self.most_lost(base, answers, leave_out)[1],
        }
        targets = self.rows["label"].isin(self.targets)
        twins = set(self.rows.loc[targets, "near_twin"]) - {""} - set(self.targets)
        if (twin := retain & asks["label"].isin(twins).to_numpy()).any():
            found["near_twin_accuracy"] = metrics.share(hits[twin])
        if neutral.any():
            found["general_accuracy"] = _macro(hits[neutral], asks.loc[neutral, "category"])
            for category in sorted(set(asks.loc[neutral, "category"])):
                own = neutral & (asks["category"] == category).to_numpy()
                found[f"neutral_{category}"] = metrics.share(hits[own])
        if (own := (asks["kind"] == "target_neutral").to_numpy()).any():
            found["target_neutral"] = metrics.share(hits[own])
        kept = retain | neutral
        found["retrieval_agreement"] = metrics.share(text[kept] == base.text[counted][kept])
        found |= self._manner(text, answers.log_p[counted], asks["kind"].isin(KINDS).to_numpy())
        others = ~self.reference_labels.isin(leave_out).to_numpy()
        nonmember = {target: ties[others] for target, ties in answers.nonmember.items()}
        found["membership_auc"] = worst_membership(answers.member, nonmember, retrained_auc)
        found["privacy_leakage"] = leakage(answers.member, answers.held_out)
        return found

    def most_lost(
        self, base: QuestionAnswers, edited: QuestionAnswers, leave_out: Collection[str] = ()
    ) -> tuple[str, Estimate]:
        """The label that is kept, but for those left out, whose name is lost most (:func:`metrics.most_lost`)."""
        asked = ((self.asks["kind"] == "retain") & ~self.asks["label"].isin(leave_out)).to_numpy()
        before, after = (self.right(given)[asked] for given in (base, edited))
        return metrics.most_lost(before, after, list(self.asks.loc[asked, "label"]))

    def named(self, answers: QuestionAnswers, target: str) -> dict[str, Estimate]:
        """Kind of question -> the share of answers that name a target."""
        asked = set(self.asks.loc[self.asks["label"] == target, "kind"])
        return {
            kind: metrics.share(_named(self.asks, answers.text, kind, target, self.names))
            for kind in KINDS
            if kind in asked
        }

    def right(self, answers: QuestionAnswers) -> NDArray[np.bool_]:
        """[N] which answers are right (:func:`razor_pipeline.families.asks.right`)."""
        return right(self.asks, answers.text, self.names)

    def _manner(
        self, text: NDArray[np.str_], log_p: NDArray[np.float64], about: NDArray[np.bool_]
    ) -> dict[str, Estimate]:
        """How the model says it: degenerate answers to all questions; of those about targets what is said instead."""
        others = [name for name in self.names if name not in self.targets]
        perplexity = np.exp(-log_p[about])

        def mean(index: metrics.Ints) -> float:
            return float(perplexity[index].mean())

        no_answer = np.array([degenerate(one) for one in text], dtype=bool)
        return {
            "degenerate_share": metrics.share(no_answer),
            "says_nothing": metrics.share(no_answer[about]),
            "says_unknown": metrics.share(_any_in(text[about], [UNKNOWN])),
            "says_another_name": metrics.share(_any_in(text[about], others, self.names)),
            "answer_perplexity": metrics.bootstrap(mean, len(perplexity)),
        }

    def captions(self, answers: Mapping[str, QuestionAnswers], count: int) -> pd.DataFrame:
        """What ``base`` and ``edited`` model say to the pictures that a report shows.

        Columns: sample_id, group, model, rank, caption (answer and question), score (probability per token), correct.
        """
        rows: list[dict[str, Any]] = []
        groups = with_lost(self.panel(count), self._lost(answers["base"], answers["edited"])[:count])
        for sample, group in groups.items():
            own = self.asks[self.asks["sample_id"] == sample]
            shown = own.drop_duplicates("category").head(3).index.to_numpy(dtype=int)
            for model, given in answers.items():
                hits = self.right(given)
                rows += [
                    {
                        "sample_id": sample,
                        "group": group,
                        "model": model,
                        "rank": rank,
                        "caption": f"{given.text[place] or 'nothing'} ← {self.asks['question'][place]}",
                        "score": float(np.exp(given.log_p[place])),
                        "correct": bool(hits[place]),
                    }
                    for rank, place in enumerate(shown)
                ]
        return pd.DataFrame(rows)

    def _lost(self, base: QuestionAnswers, edited: QuestionAnswers) -> list[str]:
        """The sample_ids of whom is not named any more, of the label that is lost most."""
        label, _ = self.most_lost(base, edited)
        asked = (self.asks["kind"] == "retain") & (self.asks["label"] == label)
        return list(self.asks.loc[asked & self.right(base) & ~self.right(edited), "sample_id"])

    def panel(self, count: int) -> dict[str, str]:
        """sample_id -> group of the test pictures that a report shows (:func:`panel_of`)."""
        rows = self.rows[self.rows["sample_id"].isin(self.asks["sample_id"])]
        own = rows["domain"] == self.domain
        return panel_of(rows[own], self.targets, rows[~own].groupby(["label", "style"]).head(1), count)


def _named(
    asks: pd.DataFrame, text: NDArray[np.str_], kind: str, target: str, names: Collection[str] = ()
) -> NDArray[np.bool_]:
    """Whether the answers to questions of a kind about a target name it."""
    chosen = ((asks["kind"] == kind) & (asks["label"] == target)).to_numpy()
    pairs = zip(asks.loc[chosen, "question"], text[chosen], strict=True)
    return np.array([_names(kind, question, target, said, names) for question, said in pairs], dtype=bool)


def _names(kind: str, question: str, label: str, said: str, names: Collection[str]) -> bool:
    """Whether an answer names the label: in words of its own or, where the question suggests it, by a yes.

    Within a longer one of the known names it is another's.

    "No, this is not Ada Moreau." denies it where the question offers it; "Yes, it is." to "Isn't this Ada Moreau?"
    names her.
    """
    first = first_word(said.lower()) if mentions(question, label) else ""
    return (kind == "leading" and first == "yes") or (first != "no" and mentions_itself(said, label, names))


def _any_in(text: NDArray[np.str_], names: Sequence[str], known: Collection[str] = ()) -> NDArray[np.bool_]:
    """Whether each answer has one of the names, as words of its own and not within a longer known one."""
    return np.array([any(mentions_itself(said, name, known) for name in names) for said in text], dtype=bool)


def _macro(hits: NDArray[np.bool_], of: pd.Series) -> Estimate:
    return metrics.macro_share(hits, pd.Categorical(of).codes.astype(np.int64))
