"""What a text encoder can't read of a prompt is said."""

import logging

import pytest

from families.cases import tiny_clip, tiny_pipeline
from razor_pipeline.families import DiffusionFamily, texts


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(texts, "_said", set())


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def limit_of(clip):
    return clip.module.config.text_config.max_position_embeddings


def text_of(clip, tokens):
    """Of that many tokens, the two at its ends included."""
    text = "a" + " a" * (tokens - 3)
    assert len(clip.tokenizer(text, verbose=False)["input_ids"]) == tokens
    return text


def test_a_prompt_that_is_cut_is_named_once(clip, caplog):
    limit = limit_of(clip)
    long = text_of(clip, limit + 1)
    with caplog.at_level(logging.WARNING):
        clip.embed_prompts(["cat", long])
        clip.embed_prompts([long])
    (record,) = caplog.records
    assert f"'{long[:60]}…' is longer than the {limit} tokens" in record.getMessage()


def test_control_a_prompt_that_just_fits_is_not(clip, caplog):
    with caplog.at_level(logging.WARNING):
        clip.embed_prompts([text_of(clip, limit_of(clip)), "cat"])
    assert not caplog.records


def test_a_caption_may_go_on_behind_what_is_read(clip, caplog):
    """Those of the zoo's portraits do, where they say more than the name."""
    long = text_of(clip, limit_of(clip) + 1)
    with caplog.at_level(logging.WARNING):
        assert clip.tokenise([long])["input_ids"].shape == (1, limit_of(clip))
    assert not caplog.records


def test_a_prompt_of_a_model_that_draws_is_named_too(caplog):
    model = DiffusionFamily(tiny_pipeline())
    with caplog.at_level(logging.WARNING):
        model.conditioning(["a cat " * 60])
        assert len(caplog.records) == 1
        model.conditioning(["a cat"])
    assert len(caplog.records) == 1
