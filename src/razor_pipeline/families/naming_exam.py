"""What a model that names what images show still knows: metrics on the test split.

Shapes: N samples, C classes.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from razor_pipeline.core import metrics
from razor_pipeline.core.cached import FORWARD_BATCH, CachedBatches
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.families.marks import leakage, panel_of, ties, with_lost, worst_membership
from razor_pipeline.interfaces import ModelFamily, class_scores
from razor_pipeline.manifest import asked_once, prompts_by_label, reference_rows

TOP = 3
Scores = dict[str, NDArray[np.float32]]  # domain -> [N, C] class scores of its test rows
Memory = dict[Hashable, NDArray[np.float32]]  # what one model was asked -> its class scores


@dataclass(frozen=True)
class Answers:
    """What one model says to the test split.

    Attributes:
        scores: domain -> [N, C] class scores of its test rows.
        member: target -> tie of its edit images to its name.
        nonmember: target -> tie of never-seen images to its name.
    """

    scores: Scores
    member: dict[str, NDArray[np.float32]]
    nonmember: dict[str, NDArray[np.float32]]


class NamingExam:
    """The questions, prepared once and put to every model alike.

    Args:
        family: any model of the family that is to be examined; it encodes the images.
        samples: manifest rows with roles; the test split and the targets' edit images are used, each image once.
    """

    def __init__(self, family: ModelFamily, samples: pd.DataFrame) -> None:
        samples = asked_once(samples)
        test = samples[(samples["split"] == "test") & (samples["role"] != "reference")]
        self.targets = sorted(set(samples.loc[samples["role"] == "forget", "label"]))
        domains = sorted(set(samples.loc[samples["role"] == "forget", "domain"]))
        self.domain = domains[0]
        self.rows = {str(name): rows.reset_index(drop=True) for name, rows in test.groupby("domain")}
        own = samples[samples["domain"] == self.domain]
        # Known names are those of any split: an image is told from a class that no test image shows, too.
        self.prompts = {
            name: prompts_by_label(own[own["role"] != "reference"]) if name == self.domain else _classes(rows)
            for name, rows in self.rows.items()
        }
        self.batches = {
            name: CachedBatches(family.batches(rows, FORWARD_BATCH)) for name, rows in self.rows.items()
        }
        members = own[(own["role"] == "forget") & (own["split"] == "edit")]
        # What is asked of a stranger is the target's name; a classifier reads no caption that is no class of its own.
        asked = self.prompts[self.domain][self.targets[0]][0]
        reference = reference_rows(own, "test").assign(caption=asked)
        self.reference, self.reference_labels = (
            CachedBatches(family.batches(reference, FORWARD_BATCH)),
            reference["label"].to_numpy(),
        )
        self.members = {
            t: CachedBatches(family.batches(members[members["label"] == t], FORWARD_BATCH))
            for t in self.targets
        }

    def put_to(self, family: ModelFamily, memory: Memory | None = None) -> Answers:
        """Examine a model as it is; ``memory`` holds how it has scored test rows before, and is added to."""
        names = {target: self.prompts[self.domain][target] for target in self.targets}
        # One set of images after the other: a model may keep what it made of the last one.
        nonmember = ties(family, dict.fromkeys(names, self.reference), names)
        return Answers(self.scores(family, memory), ties(family, self.members, names), nonmember)

    def scores(self, family: ModelFamily, memory: Memory | None = None) -> Scores:
        """Domain -> [N, C] class scores of its test rows; ``memory`` as in :meth:`put_to`."""
        memory = {} if memory is None else memory
        found = {}
        for name, rows in self.rows.items():
            asked = (tuple(rows["sample_id"]), *((c, *prompts) for c, prompts in self.prompts[name].items()))
            if asked not in memory:
                memory[asked] = class_scores(family, self.batches[name], self.prompts[name]).numpy()
            found[name] = memory[asked]
        return found

    def mark(
        self, answers: Answers, base: Answers, retrained_auc: float = 0.5, leave_out: Collection[str] = ()
    ) -> dict[str, Estimate]:
        """The metrics of one model, those of ``docs/metrics.md``, each with its interval and sample count.

        Args:
            answers: of the model.
            base: of the base model.
            retrained_auc: the membership AUC that a model without the targets has.
            leave_out: labels of the targets' domain whose images do not count.
        """
        counted = ~self.rows[self.domain]["label"].isin(leave_out).to_numpy()
        rows, scores = self.rows[self.domain][counted], answers.scores[self.domain][counted]
        base_scores = base.scores[self.domain][counted]
        own = self.labels(self.domain)[counted]
        forget = rows["label"].isin(self.targets).to_numpy()
        twins = set(rows.loc[forget, "near_twin"]) - {""} - set(self.targets)
        twin = rows["label"].isin(twins).to_numpy()
        of_targets = [(rows["label"] == target).to_numpy() for target in self.targets]
        found = {
            f"forget_accuracy{suffix}": metrics.worst(
                [metrics.share(metrics.top_k_hits(scores[mine], own[mine], k)) for mine in of_targets]
            )
            for suffix, k in (("", 1), ("_top5", 5))
        } | {
            "retain_accuracy": metrics.macro_accuracy(scores[~forget], own[~forget]),
            "worst_class_loss": self.most_lost(base.scores, answers.scores, [*self.targets, *leave_out])[1],
            "retrieval_agreement": metrics.share(scores[~forget].argmax(1) == base_scores[~forget].argmax(1)),
        }
        if twin.any():
            found["near_twin_accuracy"] = metrics.share(metrics.top_k_hits(scores[twin], own[twin]))
        hits = [
            metrics.top_k_hits(answers.scores[name], self.labels(name))
            for name in self.rows
            if name != self.domain
        ]
        if hits:
            found["general_accuracy"] = metrics.share(np.concatenate(hits))
        others = ~np.isin(self.reference_labels, list(leave_out))
        nonmember = {target: ties[others] for target, ties in answers.nonmember.items()}
        found["membership_auc"] = worst_membership(answers.member, nonmember, retrained_auc)
        found["privacy_leakage"] = leakage(answers.member, self._held_out(answers))
        return found

    def most_lost(self, before: Scores, after: Scores, leave_out: Collection[str]) -> tuple[str, Estimate]:
        """The class of the targets' domain, but for those left out, that loses most (:func:`metrics.most_lost`)."""
        labels = self.rows[self.domain]["label"]
        kept = ~labels.isin(leave_out).to_numpy()
        return metrics.most_lost(self._right(before)[kept], self._right(after)[kept], list(labels[kept]))

    def _right(self, scores: Scores) -> NDArray[np.bool_]:
        """[N] which test images of the targets' domain are named right."""
        return metrics.top_k_hits(scores[self.domain], self.labels(self.domain))

    def _held_out(self, answers: Answers) -> dict[str, NDArray[np.float32]]:
        """Target -> tie of its test images to its name: of the same class, and in no model's training."""
        labels = self.rows[self.domain]["label"].to_numpy()
        column = {name: i for i, name in enumerate(self.prompts[self.domain])}
        return {t: answers.scores[self.domain][labels == t, column[t]] for t in self.targets}

    def labels(self, domain: str) -> NDArray[np.int64]:
        """[N] index of each test row's own class."""
        column = "label" if domain == self.domain else "prompt"
        place = {name: i for i, name in enumerate(self.prompts[domain])}
        return self.rows[domain][column].map(place).to_numpy().astype(np.int64)

    def captions(self, answers: Mapping[str, Answers], count: int) -> pd.DataFrame:
        """What ``base`` and ``edited`` model say to the pictures that a report shows.

        Columns: sample_id, group, model, rank, caption, score.
        """
        groups = with_lost(self.panel(count), self._lost(answers["base"], answers["edited"])[:count])
        tables = [
            self.top_captions(given, list(groups)).assign(model=model) for model, given in answers.items()
        ]
        table = pd.concat(tables, ignore_index=True)
        return table.assign(group=table["sample_id"].map(groups))[
            ["sample_id", "group", "model", "rank", "caption", "score"]
        ]

    def panel(self, count: int) -> dict[str, str]:
        """sample_id -> group of the test pictures that a report shows (:func:`panel_of`)."""
        rows = self.rows[self.domain]
        others = [part for name, part in self.rows.items() if name != self.domain]
        general = pd.concat(others).groupby("prompt").head(1) if others else rows.head(0)
        return panel_of(rows, self.targets, general, count)

    def _lost(self, base: Answers, edited: Answers) -> list[str]:
        """The sample_ids that are lost of the class that loses most."""
        label, _ = self.most_lost(base.scores, edited.scores, self.targets)
        rows = self.rows[self.domain]
        lost = rows[(rows["label"] == label) & self._right(base.scores) & ~self._right(edited.scores)]
        return list(lost["sample_id"])

    def top_captions(self, answers: Answers, sample_ids: Sequence[str]) -> pd.DataFrame:
        """The ``TOP`` best prompts for chosen test rows: sample_id, rank, caption, score."""
        out: list[dict[str, Any]] = []
        for name, rows in self.rows.items():
            classes = [prompts[0] for prompts in self.prompts[name].values()]
            for i in np.flatnonzero(rows["sample_id"].isin(sample_ids)):
                best = answers.scores[name][i].argsort()[::-1][:TOP]
                out += [
                    {
                        "sample_id": rows["sample_id"][i],
                        "rank": rank,
                        "caption": classes[c],
                        "score": float(answers.scores[name][i, c]),
                    }
                    for rank, c in enumerate(best)
                ]
        return pd.DataFrame(out)


def _classes(rows: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Class -> prompts where nothing is forgotten: each prompt is a class."""
    return {prompt: (prompt,) for prompt in sorted(set(rows["prompt"]))}
