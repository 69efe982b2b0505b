"""FID and CLIPScore of drawings, by torchmetrics: the published figures, for published models.

Both need torchmetrics, which only the extra ``image-metrics`` installs. On the zoo's small models neither
means much: ``judge_distance`` stands there instead, in the features of a judge.

Shapes: N images, H x W pixels, F features.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import AutoProcessor, CLIPModel

from razor_pipeline.core.metrics import Estimate, bootstrap, frechet_distance, jackknife
from razor_pipeline.families.images import decoded, pixels
from razor_pipeline.params.evaluation import DrawingParams

BATCH = 64
INCEPTION = 2048  # features of the pool that FID is defined on


class ImageMetricsError(RuntimeError):
    """A figure is asked for whose library is not installed."""


def check_installed(params: DrawingParams) -> None:
    """Look for the libraries of the figures that are asked for, before anything is edited or drawn.

    Raises:
        ImageMetricsError: one is not installed.
    """
    needed = {"fid": ("torchmetrics", "torch_fidelity"), "clip_score": ("torchmetrics",)}
    for figure, libraries in needed.items():
        missing = [name for name in libraries if getattr(params, figure) and find_spec(name) is None]
        if missing:
            raise ImageMetricsError(
                f"evaluation.drawing.{figure} needs {missing[0]}, which is not installed; "
                "pip install 'razor_pipeline[image-metrics]', or leave the figure out"
            )


class InceptionDistance:
    """FID of drawings to the data's images (arXiv 1706.08500), by torchmetrics.

    It falls with the number of images, so compare it only at one ``n``. InceptionV3 and its input are torchmetrics';
    the distance of the features is the project's own, with its interval by delete-a-group jackknife over the drawings.
    The data's images are looked at once, however many models are held against them.

    Args:
        real: manifest rows.
        features: of InceptionV3, whose weights torch-fidelity fetches once; or [N, 3, H, W] bytes -> [N, F].
    """

    def __init__(self, real: pd.DataFrame, features: int | nn.Module = INCEPTION) -> None:
        self.real, self.features = real, features
        self._real_NF: dict[int, NDArray[np.float64]] = {}

    def __call__(self, drawn: Sequence[bytes], size: int) -> Estimate:
        """The distance of PNG or other image files; both sides are compared at ``size`` pixels of height and width."""
        if size not in self._real_NF:
            self._real_NF[size] = self._seen(lambda part: decoded(self.real.iloc[part]), len(self.real), size)
        real_NF = self._real_NF[size]
        drawn_NF = self._seen(lambda part: _opened(drawn[part]), len(drawn), size)
        return jackknife(lambda index: frechet_distance(drawn_NF[index], real_NF), len(drawn))

    @cached_property
    def _inception(self) -> Any:
        from torchmetrics.image.fid import FrechetInceptionDistance

        return FrechetInceptionDistance(self.features).inception

    @torch.no_grad()
    def _seen(
        self, images: Callable[[slice], list[Image.Image]], count: int, size: int
    ) -> NDArray[np.float64]:
        parts = [
            self._inception(_bytes(images(slice(start, start + BATCH)), size))
            for start in range(0, count, BATCH)
        ]
        found: NDArray[np.float64] = torch.cat(parts).double().numpy()
        return found


@torch.no_grad()
def clip_score(drawn: Sequence[bytes], prompts: Sequence[str], source: str) -> Estimate:
    """CLIPScore of drawings and their prompts, 0 to 100 (arXiv 2104.08718), by torchmetrics; mean and its interval.

    Args:
        drawn: PNG or other image files.
        prompts: what each was asked for by.
        source: directory of a CLIP with its processor, or ``id@revision`` of one on the hub.
    """
    from torchmetrics.multimodal.clip_score import CLIPScore

    opened: Any = partial(_opened_clip, source)
    metric = CLIPScore(opened)
    scores = np.array(
        [
            float(metric(torch.from_numpy(np.array(image)).permute(2, 0, 1), prompt))
            for image, prompt in zip(_opened(drawn), prompts, strict=True)
        ]
    )
    return bootstrap(lambda index: float(scores[index].mean()), len(scores))


def _opened_clip(source: str) -> tuple[nn.Module, Any]:
    name, _, revision = source.partition("@")
    places: dict[str, Any] = {"revision": revision or None}
    model = CLIPModel.from_pretrained(name, use_safetensors=True, **places).float().eval()
    return _PlainFeatures(model), AutoProcessor.from_pretrained(name, **places)


class _PlainFeatures(nn.Module):
    """A CLIP whose features are tensors, as torchmetrics expects; transformers 5 wraps them in a record."""

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """[N, F] features."""
        found: Tensor = self.model.get_image_features(pixel_values).pooler_output
        return found

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[N, F] features."""
        found: Tensor = self.model.get_text_features(input_ids, attention_mask).pooler_output
        return found


def _opened(files: Sequence[bytes]) -> list[Image.Image]:
    return [Image.open(io.BytesIO(file)).convert("RGB") for file in files]


def _bytes(images: Sequence[Image.Image], size: int) -> Tensor:
    """[N, 3, H, W] pixel values of 0 to 255."""
    found: Tensor = ((pixels(images, size) + 1.0) * 127.5).round().clamp(0, 255).byte()
    return found
