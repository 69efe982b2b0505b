"""eval-learn's technique ``razor``: a local Stable Diffusion, edited as `kedro run` edits it, that draws."""

from __future__ import annotations

from typing import Any

from PIL import Image

from razor_pipeline.datasets.pretrained import KINDS, JudgesDataset, PretrainedDataset
from razor_pipeline.evallearn.data import PluginError, checked, parameters, samples
from razor_pipeline.families.drawing_exam import looking_at
from razor_pipeline.families.text_to_image import TextToImageFamily
from razor_pipeline.studies.edits import edit

REQUIRED = ("model_id", "erase_concept")
DEFAULTS: dict[str, Any] = {
    "parameters": None,
    "judges": None,
    "family": "diffusion",
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "batch_size": 16,
    "seed": 0,
}


class RazorTechnique:
    """RAZOR behind eval-learn's interface; the edit is made once, when it is built.

    Args:
        **given: ``model_id``, a directory in the diffusers layout; ``erase_concept``, what to forget, ``A|B`` for
            several; ``parameters``, a YAML file like ``conf/style/parameters.yml``, which says what data shows the
            concept and what is kept; ``judges``, name -> directory of a classifier: what they see in the model's
            drawings keeps it from an anchor that is taken for the concept (without them the nearest concept is the
            anchor); ``family`` (``diffusion``, ``diffusion_deep`` or ``diffusion3``);
            ``num_inference_steps``, ``guidance_scale``, ``batch_size``; ``seed`` of drawings where the runner names
            none.

    Attributes:
        family: the edited model.
        stop_reason: why the edit ended.

    Raises:
        PluginError: a key is missing or unknown, or the family does not draw.
        DatasetError: the directory does not open as that family.
        DataError: the concept is not in the data.
        JudgeError: there are judges, and none knows the concepts.
    """

    def __init__(self, **given: Any) -> None:
        self.config = checked(given, REQUIRED, DEFAULTS)
        path = self.config["parameters"]
        place = PretrainedDataset(family=self.config["family"], source=str(self.config["model_id"]))
        if not issubclass(KINDS[place.family], TextToImageFamily):
            raise PluginError(f"family is '{place.family}', which does not draw; use diffusion or diffusion3")
        params, rows = parameters(path), samples(path, self.config["erase_concept"])
        model: Any = place.load()
        self.family: TextToImageFamily = model
        see = None
        if self.config["judges"]:
            judges: Any = JudgesDataset(sources=self.config["judges"]).load()
            see = looking_at(model, rows, judges, params["evaluation"].drawing.unpublished)
        result = edit(model, rows, params["razor"], params["seed"], see)
        result.edit.apply(dict(model.module.named_parameters()))
        self.stop_reason = str(result.stop_reason)
        self.drawn = 0

    def generate(self, prompts: list[str], seed: int | None = None, **options: Any) -> list[Image.Image]:
        """One image per prompt, each from a noise of its own: the first from ``seed``, the next from the number after.

        Without a seed the numbers run on from call to call, so that a whole run can be repeated.

        Raises:
            PluginError: an option is neither ``num_inference_steps`` nor ``guidance_scale``.
        """
        steering = ("num_inference_steps", "guidance_scale")
        config = checked(options, (), {name: self.config[name] for name in steering})
        first = int(self.config["seed"]) + self.drawn if seed is None else seed
        self.drawn += len(prompts)
        size = int(self.config["batch_size"])
        images: list[Image.Image] = []
        for start in range(0, len(prompts), size):
            part = prompts[start : start + size]
            seeds = range(first + start, first + start + len(part))
            images += self.family.draw(
                part, seeds, int(config["num_inference_steps"]), float(config["guidance_scale"])
            )
        return images
