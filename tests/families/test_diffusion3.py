"""Stable Diffusion 3 as a family: two text encoders, no T5, a flow."""

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from razor_pipeline.datasets.pretrained import DatasetError, PretrainedDataset
from razor_pipeline.families.diffusion3 import Diffusion3Family

from .cases import tiny_pipeline3

PROMPTS = ["A cat image in Mosaic style.", "A dog image in Neon style."]


@pytest.fixture(scope="module")
def family():
    return Diffusion3Family(tiny_pipeline3())


@pytest.fixture(scope="module")
def saved(family, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    family.save_pretrained(path)
    return path


def load(source):
    return PretrainedDataset(family="diffusion3", source=str(source)).load()


def test_it_opens_with_diffusers_and_draws_what_the_family_draws(family, saved):
    pipeline = StableDiffusion3Pipeline.from_pretrained(saved, text_encoder_3=None, tokenizer_3=None)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline(
        PROMPTS[0],
        num_inference_steps=2,
        guidance_scale=3.0,
        height=32,
        width=32,
        max_sequence_length=pipeline.tokenizer_max_length,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    assert image.size == (32, 32)
    assert image.tobytes() == family.draw([PROMPTS[0]], [7], 2, 3.0)[0].tobytes()


def test_either_tokenizer_needs_its_words(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    assert load(tmp_path / "model")  # control
    (tmp_path / "model" / "tokenizer_2" / "tokenizer.json").unlink()
    with pytest.raises(DatasetError, match=r"lacks tokenizer_2/tokenizer\.json or tokenizer_2/vocab\.json"):
        load(tmp_path / "model")


def test_the_conditioning_is_what_the_pipeline_tells_its_transformer(family):
    pipeline = family.pipeline
    length = pipeline.tokenizer_max_length
    states, _, pooled, _ = pipeline.encode_prompt(
        PROMPTS, None, None, do_classifier_free_guidance=False, max_sequence_length=length
    )
    with torch.no_grad():
        expected = torch.cat([states[:, :length].flatten(1), pooled], dim=1)
        torch.testing.assert_close(family.conditioning(PROMPTS), expected)
    assert not states[:, length:].any()  # what stands in for T5


def test_a_denoiser_that_knows_the_flow_makes_no_error(family, monkeypatch):
    """The target is noise less picture at every time; control: the noise alone is not."""
    clean = torch.ones(3, 4, 16, 16)
    seen = {}

    def perfect(noisy, states, pooled, time):
        sigma = (time / 1000)[:, None, None, None]
        noise = (noisy - (1 - sigma) * clean) / sigma
        seen["states"], seen["pooled"] = states, pooled
        return type("Out", (), {"sample": noise - clean if seen.get("right", True) else noise})

    config = family.pipeline.transformer.config
    perfect.config = config
    monkeypatch.setattr(family.pipeline, "transformer", perfect, raising=False)
    with torch.no_grad():
        conditioning = family.conditioning(PROMPTS[:1] * 3)
        error = family.denoising_error(clean, conditioning, torch.Generator().manual_seed(0))
        seen["right"] = False
        wrong = family.denoising_error(clean, conditioning, torch.Generator().manual_seed(0))
    assert float(error.max()) < 1e-6
    assert float(wrong.min()) > 0.5
    assert seen["states"].shape[-1] == config.joint_attention_dim
    assert seen["pooled"].shape[-1] == config.pooled_projection_dim


def test_a_sampler_that_follows_no_flow_is_refused_before_weights_are_loaded(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    file = tmp_path / "model" / "model_index.json"
    index = json.loads(file.read_text()) | {"scheduler": ["diffusers", "DDIMScheduler"]}
    file.write_text(json.dumps(index))
    for weights in (tmp_path / "model").rglob("*.safetensors"):
        weights.write_bytes(b"no weights")  # would fail to load with another sentence
    with pytest.raises(DatasetError, match="its scheduler is DDIMScheduler; only FlowMatchEuler"):
        load(tmp_path / "model")


def test_the_other_stable_diffusion_is_refused_by_name(saved):
    with pytest.raises(
        DatasetError, match="'StableDiffusion3Pipeline', which is of the family diffusion3 or diffusion3_deep"
    ):
        PretrainedDataset(family="diffusion", source=str(saved)).load()
