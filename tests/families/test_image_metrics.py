"""FID and CLIPScore through torchmetrics: the published formulas, on the zoo's CLIP and a small network of features."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchmetrics.image.fid import FrechetInceptionDistance

from razor_pipeline.atelier import generate
from razor_pipeline.families import image_metrics
from razor_pipeline.families.drawing_exam import DrawingExam
from razor_pipeline.families.image_metrics import (
    ImageMetricsError,
    InceptionDistance,
    clip_score,
)
from razor_pipeline.params.data import AtelierParams, SplitCounts
from razor_pipeline.params.evaluation import DrawingParams

CLIP = str(Path(__file__).parents[2] / "data/01_raw/zoo/clip")
NONE = SplitCounts(edit=0, validation=0, test=0)


class Corners(torch.nn.Module):
    """Mean colours of an image's four corners stand for InceptionV3, which is fetched from outside."""

    num_features = 12

    def forward(self, images):
        return torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 2).flatten(1)


@pytest.fixture(scope="module")
def canvas():
    counts = SplitCounts(edit=0, validation=0, test=1)
    return generate(AtelierParams(portraits=NONE, canvas=counts), workers=1)


def bytes_of(rows):
    images = [np.array(Image.open(io.BytesIO(file)).convert("RGB")) for file in rows["image_bytes"]]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def test_fid_is_that_of_torchmetrics_and_of_equal_images_nought(canvas):
    first, second = canvas.iloc[::2], canvas.iloc[1::2]
    metric = FrechetInceptionDistance(Corners())
    metric.update(bytes_of(second), real=True)
    metric.update(bytes_of(first), real=False)
    distance = InceptionDistance(second, Corners())
    found = distance(list(first["image_bytes"]), 64)
    assert found.value == pytest.approx(float(metric.compute()), rel=1e-3)
    assert found.low <= found.value <= found.high
    assert found.n == len(first)
    same = distance(list(second["image_bytes"]), 64)
    assert same.value == pytest.approx(0.0, abs=1e-6)
    assert found.value > 1e-3  # control: other images are at a distance


def test_drawings_fit_the_prompts_that_they_were_asked_for_by(canvas):
    rows = canvas.iloc[::6]
    files, prompts = list(rows["image_bytes"]), list(rows["prompt"])
    own, others = (clip_score(files, told, CLIP) for told in (prompts, prompts[::-1]))
    assert own.low <= own.value <= own.high <= 100.0
    assert own.n == len(rows)
    assert others.value < 0.5 * own.value  # control: others' prompts


@pytest.mark.parametrize(
    ("asked", "absent", "named"),
    [
        ({"fid": True}, "torch_fidelity", r"drawing\.fid needs torch_fidelity.*image-metrics"),
        ({"fid": True}, "torchmetrics", r"drawing\.fid needs torchmetrics"),
        ({"clip_score": CLIP}, "torchmetrics", r"drawing\.clip_score needs torchmetrics"),
    ],
)
def test_a_figure_whose_library_is_missing_is_refused_before_an_exam(monkeypatch, asked, absent, named):
    monkeypatch.setattr(image_metrics, "find_spec", lambda name: None if name == absent else object())
    with pytest.raises(ImageMetricsError, match=named):
        DrawingExam(pd.DataFrame(), {}, DrawingParams(**asked))
    image_metrics.check_installed(DrawingParams())  # control: nothing is asked for
