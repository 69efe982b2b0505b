"""Textual inversion: one embedding is learnt, nothing else moves, and it explains the images better than before."""

import pytest
import torch

from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.textual_inversion import WORD, inverted
from razor_pipeline.params.studies import InversionParams

from .cases import denoising_error, one_person, tiny_pipeline


@pytest.fixture(scope="module")
def rows():
    return one_person()


@pytest.fixture(scope="module")
def family():
    return DiffusionFamily(tiny_pipeline())


def test_one_embedding_is_learnt_and_the_model_is_left_alone(family, rows):
    before = {name: tensor.clone() for name, tensor in family.module.state_dict().items()}
    params = InversionParams(images=4, steps=40, batch_size=4, learning_rate=0.05)
    found = inverted(family, rows, params, 0)
    assert all(torch.equal(before[name], tensor) for name, tensor in family.module.state_dict().items())
    table = "text_encoder.embeddings.token_embedding.weight"
    now = found.module.state_dict()
    assert all(torch.equal(before[name], now[name]) for name in before if name != table)
    words = len(before[table])
    assert torch.equal(now[table][:words], before[table])  # the others' embeddings
    assert len(now[table]) == words + 1
    own = family.pipeline.tokenizer(rows["label"].iloc[0], add_special_tokens=False)["input_ids"]
    assert not torch.allclose(now[table][-1], before[table][own].mean(0))  # it has moved from where it began
    prompts = [prompt.replace(rows["label"].iloc[0], WORD) for prompt in rows["prompt"]]
    start = inverted(family, rows, params.model_copy(update={"learning_rate": 1e-12}), 0)
    began = start.module.state_dict()[table][-1]
    assert torch.allclose(began, before[table][own].mean(0))  # where the label's own tokens are
    assert denoising_error(found, rows, prompts) < denoising_error(
        start, rows, prompts
    )  # control: the word as it began


def test_a_seed_gives_the_same_word_and_another_another(family, rows):
    params = InversionParams(images=2, steps=3, batch_size=2)
    words = [
        inverted(family, rows, params, seed).pipeline.text_encoder.get_input_embeddings().weight[-1]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(words[0], words[1])
    assert not torch.equal(words[0], words[2])
