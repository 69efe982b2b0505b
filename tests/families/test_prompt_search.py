"""Discrete prompt search: words that can be typed, under which the model explains the images better than at first."""

import pytest
import torch

from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.prompt_search import _Search, words_before
from razor_pipeline.params.studies import PromptSearchParams

from .cases import denoising_error, one_person, tiny_pipeline

PARAMS = PromptSearchParams(images=4, tokens=3, steps=12, batch_size=8, promising=8, exchanges=6)


@pytest.fixture(scope="module")
def rows():
    return one_person()


@pytest.fixture(scope="module")
def family():
    return DiffusionFamily(tiny_pipeline())


def said_before(rows, words):
    return [f"{words} {prompt}" for prompt in rows["prompt"]]


def test_the_words_explain_the_images_better_than_those_it_began_with(family, rows):
    before = {name: tensor.clone() for name, tensor in family.module.state_dict().items()}
    first = words_before(family, rows, PARAMS.model_copy(update={"exchanges": 1, "steps": 1}), 0)
    found = words_before(family, rows, PARAMS, 0)
    assert denoising_error(family, rows, said_before(rows, found)) < denoising_error(
        family, rows, said_before(rows, first)
    )
    assert all(torch.equal(before[name], tensor) for name, tensor in family.module.state_dict().items())
    assert not family.pipeline.text_encoder.get_input_embeddings()._forward_hooks


def test_what_is_found_can_be_typed(family, rows):
    tokenizer = family.pipeline.tokenizer
    found = words_before(family, rows, PARAMS, 0)
    prompt = rows["prompt"].iloc[0]
    ids = tokenizer(f"{found} {prompt}")["input_ids"]
    assert ids[1 + PARAMS.tokens :] == tokenizer(prompt)["input_ids"][1:]
    assert not set(ids[1 : 1 + PARAMS.tokens]) & set(tokenizer.all_special_ids)


def test_the_gradient_is_that_of_the_words_embeddings(family, rows):
    """A step of the embeddings against it lowers the error, and one along it raises it."""
    search = _Search(family, rows, PARAMS, 0)
    words = search.typed[:3]
    noisy = family.noised(search.latents_NLhw, torch.Generator().manual_seed(2))
    _, gradient = search._error_and_gradient(words, search.prompts, noisy)
    assert gradient.shape == (3, search.table.embedding_dim)
    errors = {}
    for sign in (-1.0, 0.0, 1.0):
        moved = 0.01 * sign * gradient / gradient.norm()

        def shifted(_, __, given, moved=moved):
            return torch.cat([given[:, :1], given[:, 1:4] + moved, given[:, 4:]], dim=1)

        handle = search.table.register_forward_hook(shifted)
        errors[sign] = search._error(words, search.prompts, noisy)
        handle.remove()
    assert errors[-1.0] < errors[0.0] < errors[1.0]


def test_the_exchanges_tried_lower_the_error(family, rows):
    """On average, and control: with the gradient turned round they do not."""
    search = _Search(family, rows, PARAMS.model_copy(update={"exchanges": 24}), 0)
    words = search.typed[:3]
    noisy = family.noised(search.latents_NLhw, torch.Generator().manual_seed(2))
    error, gradient = search._error_and_gradient(words, search.prompts, noisy)
    promising, turned = (
        [search._error(other, search.prompts, noisy) for other in search._exchanges(words, sign * gradient)]
        for sign in (1.0, -1.0)
    )
    assert len(promising) > 8
    assert len(turned) > 8
    assert sum(promising) / len(promising) < error < sum(turned) / len(turned)


def test_a_seed_gives_the_same_words_and_another_others(family, rows):
    few = PARAMS.model_copy(update={"steps": 1})
    one, again, other = (words_before(family, rows, few, seed) for seed in (0, 0, 1))
    assert one == again != other
