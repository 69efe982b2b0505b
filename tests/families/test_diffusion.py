"""Stable Diffusion as a family: what is refused, and what is saved."""

import json
import shutil

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image
from safetensors.torch import load_file, save_file

from razor_pipeline.core.quantize import quantized
from razor_pipeline.datasets.pretrained import DatasetError, PretrainedDataset
from razor_pipeline.families import latent_diffusion, text_to_image
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.images import pixels

from .cases import tiny_pipeline

PROMPT = "A cat image in Mosaic style."


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    pipeline = tiny_pipeline()
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.half()
    DiffusionFamily(pipeline).save_pretrained(path)
    return path


def changed(saved, tmp_path, name, **keys):
    """A copy of the directory with other values in one of its files."""
    shutil.copytree(saved, tmp_path / "model")
    file = tmp_path / "model" / name
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))
    return str(tmp_path / "model")


def load(source):
    return PretrainedDataset(family="diffusion", source=source).load()


def test_it_opens_with_diffusers_and_draws(saved):
    pipeline = StableDiffusionPipeline.from_pretrained(saved, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(PROMPT, num_inference_steps=2, height=32, width=32).images[0]
    assert image.size == (32, 32)


def test_large_images_are_coded_a_few_at_a_time(monkeypatch):
    """128 of 512 x 512 pixels would take 17 GB in each of the autoencoder's outer layers."""
    family = DiffusionFamily(tiny_pipeline())
    seen = []
    family.pipeline.vae.encoder.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    small = torch.rand(130, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    together = family.latents(small[:5])
    assert [shape[0] for shape in seen] == [5]
    monkeypatch.setattr(latent_diffusion, "CODED_PIXELS", 2 * 32**2)
    torch.testing.assert_close(family.latents(small[:5]), together)
    assert [shape[0] for shape in seen[1:]] == [2, 2, 1]
    monkeypatch.undo()
    family.latents(small)
    assert [shape[0] for shape in seen[4:]] == [128, 2]
    assert latent_diffusion.CODED_PIXELS // 1024**2 == 4


def test_half_precision_stays_half_on_disk_and_every_weight_counts(saved, tmp_path):
    family = load(str(saved))
    assert family.stored_dtype == torch.float16
    assert {parameter.dtype for parameter in family.module.parameters()} == {torch.float32}
    family.save_pretrained(tmp_path / "again")
    for file in saved.rglob("*.safetensors"):
        assert (tmp_path / "again" / file.relative_to(saved)).read_bytes() == file.read_bytes()
    before = family.origin["sha256"]
    with torch.no_grad():
        next(family.pipeline.unet.parameters()).add_(1.0)
    PretrainedDataset(family="diffusion", source=str(tmp_path / "other")).save(family)
    assert load(str(tmp_path / "other")).origin["sha256"] != before


@pytest.mark.parametrize(
    ("name", "keys", "sentence"),
    [
        (
            "model_index.json",
            {"_class_name": "FluxPipeline"},
            "configuration says 'FluxPipeline', and no family of this project is made for it",
        ),
        (
            "model_index.json",
            {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]},
            "it has a safety checker",
        ),
        (
            "model_index.json",
            {"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]},
            "its scheduler is FlowMatchEulerDiscreteScheduler, which adds no noise",
        ),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "v_prediction"},
            "prediction_type 'v_prediction'; only 'epsilon' is supported",
        ),
    ],
)
def test_what_it_cannot_work_with_is_refused_before_weights_are_loaded(saved, tmp_path, name, keys, sentence):
    source = changed(saved, tmp_path, name, **keys)
    for weights in (tmp_path / "model").rglob("*.safetensors"):
        weights.write_bytes(b"no weights")  # would fail to load with another sentence
    with pytest.raises(DatasetError, match=sentence):
        load(source)


def test_a_pipeline_with_a_part_missing_does_not_open(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "unet")
    for weights in (tmp_path / "model").rglob("*.safetensors"):
        weights.write_bytes(b"no weights")  # would fail to load with another sentence
    with pytest.raises(
        DatasetError, match=r"does not open as diffusion: it lacks unet, which its model_index"
    ):
        load(str(tmp_path / "model"))


def test_a_pipeline_whose_tokenizer_has_no_words_does_not_open(saved, tmp_path):
    """transformers would make one that knows none, and all prompts would be the same."""
    shutil.copytree(saved, tmp_path / "model")
    assert load(str(tmp_path / "model"))  # control
    (tmp_path / "model" / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(
        DatasetError, match=r"lacks tokenizer/tokenizer\.json or tokenizer/vocab\.json; copy the whole"
    ):
        load(str(tmp_path / "model"))


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_a_part_that_lacks_a_weight_does_not_open_with_one_drawn_at_random(saved, tmp_path, part):
    shutil.copytree(saved, tmp_path / "model")
    [file] = (tmp_path / "model" / part).glob("*.safetensors")
    weights = load_file(file)
    gone = next(name for name in weights if name.endswith("weight"))
    save_file({name: tensor for name, tensor in weights.items() if name != gone}, file, {"format": "pt"})
    whose = part.replace("_", " ")
    with pytest.raises(DatasetError, match=f"the {whose}'s weights lack .*; copy them again"):
        load(str(tmp_path / "model"))


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_a_part_that_saving_would_round_does_not_open(saved, tmp_path, part):
    """All parts are saved in the text encoder's dtype."""
    shutil.copytree(saved, tmp_path / "model")
    [file] = (tmp_path / "model" / part).glob("*.safetensors")
    whole = {name: tensor.float() for name, tensor in load_file(file).items()}
    save_file(whole, file, {"format": "pt"})
    assert load(str(tmp_path / "model"))  # control: float32, but none of its weights needs it
    save_file({name: tensor * (1.0 + 1e-6) for name, tensor in whole.items()}, file, {"format": "pt"})
    with pytest.raises(
        DatasetError, match=f"weights of its {part} need torch.float32 .* torch.float16, which rounds"
    ):
        load(str(tmp_path / "model"))


@pytest.mark.parametrize(
    "sampler", [EulerDiscreteScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler]
)
def test_noise_is_that_of_the_training_whatever_the_pipeline_samples_with(saved, sampler):
    """Samplers scale noise their own way: Euler adds it to latents that stay as large as they were."""
    plain, other = load(str(saved)), load(str(saved))
    other.pipeline.scheduler = sampler.from_config(other.pipeline.scheduler.config)
    clean, noise, time = torch.ones(2, 4, 4, 4), torch.ones(2, 4, 4, 4), torch.tensor([10, 900])
    expected = plain.pipeline.scheduler.add_noise(clean, noise, time)
    for _ in range(2):
        assert torch.equal(other.noisy(clean, noise, time).latent_BLhw, expected)
        other.draw([PROMPT], [1], 2, 3.0)  # which sets the sampler's own steps
    if sampler is EulerDiscreteScheduler:  # control: the sampler's own noise is another
        with pytest.raises((IndexError, AssertionError)):
            torch.testing.assert_close(other.pipeline.scheduler.add_noise(clean, noise, time), expected)


@pytest.mark.parametrize("size", [(16, 16), (64, 32)])
def test_an_image_that_is_small_or_not_square_is_refused(size):
    assert pixels([Image.new("RGB", (64, 64))], 32).shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match=rf"has {size[0]} x {size[1]} pixels, and the model draws 32 x 32"):
        pixels([Image.new("RGB", size)], 32)


def test_a_quantized_copy_keeps_the_frozen_encoder_and_draws(saved):
    family = load(str(saved))
    small = family.with_module(quantized(family.module, "int8"))
    assert torch.equal(small.frozen_conditioning([PROMPT]), family.frozen_conditioning([PROMPT]))
    with torch.no_grad():
        assert not torch.equal(small.conditioning([PROMPT]), family.conditioning([PROMPT]))
    assert len(small.draw([PROMPT, PROMPT], [1, 2], 2, 3.0)) == 2


def test_what_the_base_is_told_of_a_prompt_is_encoded_once(saved, monkeypatch):
    family = load(str(saved))
    asked: list[int] = []
    family.frozen["text_encoder"].register_forward_hook(lambda *_: asked.append(1))
    prompts = [PROMPT, "a hat", PROMPT]
    first, again = family.frozen_conditioning(prompts), family.frozen_conditioning(prompts[1:])
    assert len(asked) == 1
    assert torch.equal(again, first[1:])
    torch.testing.assert_close(first, family.conditioning(prompts))
    with torch.no_grad():
        family.pipeline.text_encoder.encoder.layers[0].mlp.fc1.weight.mul_(2.0)
    assert torch.equal(family.frozen_conditioning(prompts), first)
    assert not torch.allclose(family.conditioning(prompts), first)  # control: what is edited is encoded anew
    monkeypatch.setattr(text_to_image, "TOLD_PROMPTS", 1)
    family.frozen_conditioning([*prompts, "a cat"])
    assert not family._told  # no more than so many are held
