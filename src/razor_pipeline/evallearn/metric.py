"""eval-learn's metric ``unlearncanvas``: the project's own examination of drawings, for any technique."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from eval_learn.types import Dataset, MetricResult
from PIL import Image

from razor_pipeline.datasets.pretrained import JudgesDataset
from razor_pipeline.evallearn.data import checked, parameters, samples
from razor_pipeline.families.drawing_exam import DrawingExam

REQUIRED = ("judges", "target")
DEFAULTS: dict[str, Any] = {"parameters": None, "batch_size": 48}


class UnlearnCanvasMetric:
    """UA, IRA and CRA as two judges see the drawings; the value is their mean.

    eval-learn hands no seeds to a technique, so the noise is the technique's: a prompt is drawn once per seed of the
    protocol, from whatever noise the technique takes.

    Args:
        **given: ``judges``, name -> directory of a classifier; ``target``, what was to be forgotten; ``parameters``, as
            the technique ``razor`` takes them, for prompts and protocol (``evaluation.drawing``); ``batch_size``.

    Raises:
        PluginError: a key is missing or unknown.
        JudgeError: no judge knows the concepts.
    """

    def __init__(self, **given: Any) -> None:
        self.config = checked(given, REQUIRED, DEFAULTS)
        path = self.config["parameters"]
        judges: Any = JudgesDataset(sources=self.config["judges"]).load()
        # eval-learn has its own FID and CLIPScore.
        drawing = parameters(path)["evaluation"].drawing.unpublished
        self.exam = DrawingExam(samples(path, self.config["target"]), judges, drawing)
        self.images: list[Image.Image] = []

    def load_dataset(self) -> Iterator[Dataset]:
        """The prompts in batches; starts over."""
        self.images = []
        orders, size = self.exam.orders, int(self.config["batch_size"])
        for start in range(0, len(orders), size):
            part = orders.iloc[start : start + size]
            kinds = ["target" if role == "forget" else "retain" for role in part["role"]]
            yield Dataset(list(part["prompt"]), {"source": "unlearncanvas", "categories": kinds})

    def update(self, images: list[Image.Image], prompts: list[str], metadata: Any = None) -> None:  # noqa: ARG002
        """Take the drawings of a batch, in the order of the prompts."""
        self.images += [image.convert("RGB") for image in images]

    def compute(self) -> MetricResult:
        """The figures, each with its 95 % interval and number of drawings.

        Raises:
            ValueError: there are fewer or more drawings than prompts.
        """
        if len(self.images) != len(self.exam.orders):
            raise ValueError(
                f"the metric was given {len(self.images)} drawings for {len(self.exam.orders)} prompts; it needs one "
                "each, in the order of load_dataset"
            )
        drawings = self.exam.judges.look(self.images)
        marks = self.exam.shares(drawings)
        seen = marks["forget_accuracy"]
        named = {
            "ira": marks["retain_accuracy"],
            "cra": marks["general_accuracy"],
            "cra_with_target": marks["general_accuracy_with_target"],
            "blank_share": marks["blank_share"],
            "ua": replace(seen, value=1.0 - seen.value, low=1.0 - seen.high, high=1.0 - seen.low),
        }
        details: dict[str, Any] = {name: asdict(estimate) for name, estimate in named.items()}
        value = float(np.mean([details[name]["value"] for name in ("ua", "ira", "cra")]))
        return MetricResult("UnlearnCanvas", value, details)
