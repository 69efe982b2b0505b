"""What a text-to-image model still draws: UnlearnCanvas' questions, put to judges of style and object.

Every prompt of the data is drawn from fixed seeds, the noise from the image's own seed, and two classifiers
(:mod:`razor_pipeline.families.judges`) say which concept of the target's domain and which of the other domain they see
(UnlearnCanvas, NeurIPS 2024 D&B). In its terms UA
is ``1 - forget_accuracy``, IRA is ``retain_accuracy`` and CRA is ``general_accuracy``.

Shapes: N drawings, C classes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from razor_pipeline.core import metrics
from razor_pipeline.core.metrics import Estimate
from razor_pipeline.families.drawing_prompts import cells_of, orders_of
from razor_pipeline.families.image_metrics import InceptionDistance, check_installed, clip_score
from razor_pipeline.families.judges import Drawings, Drawn, Judges
from razor_pipeline.families.marks import spread
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.families.vit import VitFamily
from razor_pipeline.interfaces import See
from razor_pipeline.params.evaluation import DrawingParams

Memory = dict[tuple[str, int], Drawn]  # what one model drew of a prompt from a seed
FEWEST = 3  # drawings that a distance is measured between: where one is left out, two still have a covariance


class DrawingExam:
    """The prompts and seeds, prepared once and put to every model alike.

    Args:
        samples: manifest rows with roles; the prompts of the targets' domain are drawn.
        judges: classifiers; one must know every label, another every style of these rows. Where labels combine an
            object with a style, both are asked.
        params: protocol and sampler.
        prompts: asked instead of the data's own; see :func:`razor_pipeline.families.drawing_prompts.cells_of`.

    Raises:
        JudgeError: a judge is missing.
        PromptError: a prompt cannot be asked.
        ImageMetricsError: a figure is asked for whose library is not installed.
    """

    def __init__(
        self,
        samples: pd.DataFrame,
        judges: Mapping[str, VitFamily],
        params: DrawingParams,
        prompts: Sequence[str] = (),
    ) -> None:
        check_installed(params)
        self.params = params
        cells = cells_of(samples, prompts)
        self.judges = Judges(judges, cells)
        kept = samples[(samples["role"] == "retain") & samples["label"].isin(cells["label"])]
        self.fid = InceptionDistance(kept[kept["split"] == "test"]) if params.fid else None
        self.targets = sorted(set(cells.loc[cells["role"] == "forget", "label"]))
        self.orders = orders_of(cells, params)
        self.forget = (self.orders["role"] == "forget").to_numpy()

    def put_to(self, family: TextToImageFamily, drawn: Memory | None = None) -> Drawings:
        """Have a model draw, and the judges look.

        Args:
            family: the model.
            drawn: what it has drawn before; read, and added to.
        """
        drawn = {} if drawn is None else drawn
        asked = list(zip(self.orders["prompt"], self.orders["seed"], strict=True))
        if new := [place for place, order in enumerate(asked) if order not in drawn]:
            seen = self._drawn(family, self.orders.iloc[new])
            drawn.update(zip([asked[place] for place in new], seen.each(), strict=True))
        return Drawings.of([drawn[order] for order in asked])

    def target_share(
        self,
        family: TextToImageFamily,
        reworded: Callable[[str, str], str] | None = None,
        leave_out: Collection[str] = (),
    ) -> Estimate:
        """Have a model draw what names the targets alone; share in which the judge sees it, or nothing at all.

        Args:
            family: the model.
            reworded: makes another prompt of a prompt and the target's name.
            leave_out: concepts whose prompts are not drawn.
        """
        orders = self.orders[self.forget & self._counted(leave_out)]
        own = orders["label"].to_numpy()
        if reworded is not None:
            prompts = [reworded(prompt, name) for prompt, name in zip(orders["prompt"], own, strict=True)]
            orders = orders.assign(prompt=prompts)
        drawings = self._drawn(family, orders)
        return metrics.share((drawings.label == own) | drawings.blank)

    def seen_in(
        self, family: TextToImageFamily, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[tuple[str, str]]:
        """Have a model draw prompts of the targets' domain; label and style that the judges see, by prompt and seed.

        Empty names where a drawing is blank.
        """
        orders = pd.DataFrame({"prompt": list(prompts)}).merge(
            pd.DataFrame({"seed": list(seeds)}), how="cross"
        )
        drawings = self._drawn(family, orders)
        seen = zip(drawings.label, drawings.style, drawings.blank, strict=True)
        return [("", "") if blank else (str(label), str(style)) for label, style, blank in seen]

    def _drawn(self, family: TextToImageFamily, orders: pd.DataFrame) -> Drawings:
        """Batch by batch: a whole protocol of 1024 pixels a side would be 20 GB of pixels."""
        size, params = self.params.batch_size, self.params
        seen: list[Drawn] = []
        with tqdm(total=len(orders), desc="drawing", unit="image", disable=None, leave=False) as bar:
            for start in range(0, len(orders), size):
                part = orders.iloc[start : start + size]
                images = family.draw(list(part["prompt"]), list(part["seed"]), params.steps, params.guidance)
                seen += self.judges.look(images).each()
                bar.update(len(part))
        return Drawings.of(seen)

    def recognised(self, drawings: Drawings, leave_out: Collection[str] = ()) -> dict[str, Estimate]:
        """Target -> share of its drawings in which the judge sees it; a blank one counts as seen.

        Args:
            drawings: of the model.
            leave_out: concepts whose prompts do not count; a target none of whose prompts does is left out.
        """
        own = self.orders["label"].to_numpy()
        seen, counted = (drawings.label == own) | drawings.blank, self._counted(leave_out)
        of_target = {target: counted & (own == target) for target in self.targets}
        return {target: metrics.share(seen[mine]) for target, mine in of_target.items() if mine.any()}

    def _counted(self, leave_out: Collection[str]) -> NDArray[np.bool_]:
        """[N] whether an order names none of the concepts, of either kind."""
        named = self.orders["label"].isin(leave_out) | self.orders["style"].isin(leave_out)
        return ~named.to_numpy()

    def speaks_without(self, leave_out: Collection[str]) -> bool:
        """Whether prompts of targets and of others are left where those that name some concepts do not count."""
        counted = self._counted(leave_out)
        return bool((self.forget & counted).any() and (~self.forget & counted).any())

    def shares(self, drawings: Drawings, leave_out: Collection[str] = ()) -> dict[str, Estimate]:
        """What the judges see of targets and others, each with its interval and sample count.

        A blank drawing shows no concept, but proves no forgetting: on the target's prompts it counts as recognised.

        Args:
            drawings: of the model.
            leave_out: concepts whose prompts do not count.
        """
        counted = self._counted(leave_out)
        own, other = self.orders["label"].to_numpy(), self.orders["style"].to_numpy()
        right = self._right(drawings)
        right_style = (drawings.style == other) & ~drawings.blank
        kept = ~self.forget & counted
        codes = pd.Categorical(own).codes
        return {
            "forget_accuracy": metrics.worst(list(self.recognised(drawings, leave_out).values())),
            "retain_accuracy": metrics.macro_share(right[kept], codes[kept]),
            "general_accuracy": metrics.share(right_style[kept]),
            "general_accuracy_with_target": metrics.share(right_style[counted]),
            "blank_share": metrics.share(drawings.blank[counted]),
        }

    def mark(self, drawings: Drawings, base: Drawings) -> dict[str, Estimate]:
        """The metrics of one model, those of ``docs/metrics.md``; the shares, and what is held against the base."""
        kept = ~self.forget
        kept_features, base_features = drawings.features[kept], base.features[kept]
        same = (drawings.label == base.label) & (drawings.style == base.style)
        found = {
            **self._published(drawings),
            **self.shares(drawings),
            "worst_class_loss": self.most_lost(base, drawings)[1],
            "retrieval_agreement": metrics.share(same[kept]),
        }
        if kept.sum() >= FEWEST:
            found["judge_distance"] = metrics.jackknife(
                lambda index: metrics.frechet_distance(kept_features[index], base_features[index]),
                int(kept.sum()),
            )
        return found

    def most_lost(self, base: Drawings, edited: Drawings) -> tuple[str, Estimate]:
        """The concept of the targets' kind that is kept and lost most (:func:`metrics.most_lost`)."""
        kept = ~self.forget
        before, after = (self._right(drawings)[kept] for drawings in (base, edited))
        return metrics.most_lost(before, after, list(self.orders.loc[kept, "label"]))

    def _right(self, drawings: Drawings) -> NDArray[np.bool_]:
        """[N] in which drawings the judge sees the concept of the targets' kind that was asked for."""
        right: NDArray[np.bool_] = (drawings.label == self.orders["label"].to_numpy()) & ~drawings.blank
        return right

    def _published(self, drawings: Drawings) -> dict[str, Estimate]:
        """FID and CLIPScore of the drawings that do not name the target, where they are asked for."""
        found, kept = {}, np.flatnonzero(~self.forget)
        drawn = [drawings.images[place] for place in kept]
        if self.fid and len(drawn) >= FEWEST:
            found["fid"] = self.fid(drawn, Image.open(io.BytesIO(drawn[0])).width)
        if self.params.clip_score:
            prompts = list(self.orders["prompt"].iloc[kept])
            found["clip_score"] = clip_score(drawn, prompts, self.params.clip_score)
        return found

    def captions(self, answers: Mapping[str, Drawings], count: int) -> pd.DataFrame:
        """Drawings that a report shows, before and after: ``count`` of each target and of each other group.

        ``target`` names a target, ``other`` another concept of its kind, each once; ``lost`` is what only the ``base``
        draws of the one that the ``edited`` model loses most; ``general`` are further drawings that do not name a
        target, one of each concept of the other kind, which alone counts there (CRA).

        Columns: sample_id, group, model, rank, caption (what the judges see), score (1 where they are right), label,
        style, image_bytes.
        """
        first = self.orders[self.orders["seed"] == self.params.seeds[0]]
        target, other = first[first["role"] == "forget"], first[first["role"] != "forget"]
        chosen = {
            "target": pd.concat([spread(own, count) for _, own in target.groupby("label")]),
            "other": spread(_one_of_each(other, "label"), count),
        }
        if lost := self._lost(answers["base"], answers["edited"])[:count]:
            chosen["lost"] = self.orders.loc[lost]
        chosen["general"] = spread(_one_of_each(other.drop(chosen["other"].index), "style"), count)
        rows: list[dict[str, Any]] = [
            row
            for group, part in chosen.items()
            for place in part.index
            for model, drawn in answers.items()
            for row in self._shown(int(place), group, model, drawn)
        ]
        return pd.DataFrame(rows)

    def _lost(self, base: Drawings, edited: Drawings) -> list[int]:
        """The places of what is not seen any more, of the concept that is lost most."""
        label, _ = self.most_lost(base, edited)
        lost = self._right(base) & ~self._right(edited)
        return list(np.flatnonzero(lost & ~self.forget & (self.orders["label"] == label).to_numpy()))

    def _shown(self, place: int, group: str, model: str, drawn: Drawings) -> Iterator[dict[str, Any]]:
        order = self.orders.loc[place]
        seen = {"label": str(drawn.label[place]), "style": str(drawn.style[place])}
        if group == "general":
            del seen["label"]
        yield {
            "sample_id": f"{order['prompt']} seed {order['seed']}",
            "group": group,
            "model": model,
            "rank": 0,
            "caption": "nothing" if drawn.blank[place] else ", ".join(seen.values()),
            "score": float(all(order[column] == name for column, name in seen.items())),
            "label": order["label"],
            "style": order["style"],
            "image_bytes": drawn.images[place],
        }


def looking_at(
    family: Any, samples: pd.DataFrame, judges: Mapping[str, VitFamily], params: DrawingParams
) -> See | None:
    """Who looks at a model's drawings from ``validation_seeds``, through the judges.

    None where the model does not draw.

    Raises:
        JudgeError: a judge is missing.
    """
    if not isinstance(family, TextToImageFamily):
        return None
    exam = DrawingExam(samples, judges, params)
    return lambda prompts: exam.seen_in(family, prompts, params.validation_seeds)


def _one_of_each(orders: pd.DataFrame, column: str) -> pd.DataFrame:
    return orders.groupby(column, sort=True).sample(1, random_state=0)
