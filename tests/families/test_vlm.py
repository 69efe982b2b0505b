"""LLaVA: opens as what it is, is asked in its own format, and answers as transformers' own pipeline does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from transformers import (
    AutoProcessor,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextProcessor,
    Qwen2Config,
)

from razor_pipeline.atelier.questions import UNKNOWN, Question, leading_question
from razor_pipeline.families import vlm
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.families.images import decoded
from razor_pipeline.families.vlm import VlmFamily

from .cases import CASES, tiny_clip, tiny_llava

VLM = next(case for case in CASES if case.name == "vlm")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("llava")
    tiny_llava().save_pretrained(path)
    return path


def test_the_saved_directory_answers_with_transformers_alone(saved):
    """What lmms-eval and everybody else does with it, and it gives our answers."""
    rows = VLM.samples("edit").head(3)
    model = LlavaForConditionalGeneration.from_pretrained(saved).float()
    processor = AutoProcessor.from_pretrained(saved)
    conversation = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who is this?"}]}
    ]
    prompt = processor.apply_chat_template(conversation, add_generation_prompt=True)
    theirs = []
    for image in decoded(rows):
        inputs = processor(images=image, text=prompt, return_tensors="pt")
        given = model.generate(**inputs, max_new_tokens=16, do_sample=False)
        theirs.append(processor.decode(given[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    family = VlmFamily.from_pretrained(str(saved))
    images, prefixes = family.chat.seen(decoded(rows))
    ours, log_p = family.answer(images, prefixes, ["Who is this?"] * 3)
    assert ours == [text.strip() for text in theirs]
    assert log_p.shape == (3,)
    assert (log_p <= 0).all()


def test_padding_changes_no_answer(saved):
    family = VlmFamily.from_pretrained(str(saved))
    images, prefixes = family.chat.seen(decoded(VLM.samples("edit").head(2)))
    long = "Who is this: Ada Moreau, Bruno Keller or unknown?"
    together, _ = family.answer(images, prefixes, ["Who is this?", long])
    first, _ = family.answer({"pixel_values": images["pixel_values"][:1]}, prefixes[:1], ["Who is this?"])
    assert together[0] == first[0]


def test_a_model_of_another_kind_is_refused(tmp_path):
    tiny_clip().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model_type 'clip', not llava or llava_next"):
        VlmFamily.from_pretrained(str(tmp_path))
    assert ClipFamily.from_pretrained(str(tmp_path))  # control: it opens as what it is


def test_a_processor_that_knows_no_prompt_format_is_refused(saved, tmp_path):
    VlmFamily.from_pretrained(str(saved)).save_pretrained(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="no chat template"):
        VlmFamily.from_pretrained(str(tmp_path))


def test_layers_behind_the_one_that_is_read_are_no_components(saved):
    family = VlmFamily.from_pretrained(str(saved))
    every = {c.layer for c in family.components("matrix") if c.tower == "vision"}
    family.module.config.vision_feature_layer = -2
    fewer = {c.layer for c in family.components("matrix") if c.tower == "vision"}
    assert every == {0, 1}
    assert fewer == {0}


def test_a_row_is_asked_for_its_label_and_about_the_rest(saved):
    family = VlmFamily.from_pretrained(str(saved))
    row = VLM.samples("edit").head(1)
    batch = family.batches(row, 1)[0]
    assert batch.label[0].answer == row["caption"].iloc[0]
    facts = json.loads(row["facts"].iloc[0])
    assert {one.category for one in batch.neutral[0]} <= {*facts, "yes_no"} - {"name"}
    bare = family.batches(row.assign(facts=""), 1)[0]
    assert bare.label[0].category == "name"
    assert bare.neutral == ((),)
    assert bare.suggested[0][0].answer == f"yes, {row['caption'].iloc[0]}"  # no other name to suggest
    assert torch.isfinite(family.retain_loss(bare))


def test_some_images_are_suggested_their_own_label_and_others_another(saved):
    family = VlmFamily.from_pretrained(str(saved))
    rows = VLM.samples("edit")
    [batch] = family.batches(rows, len(rows))
    suggested = [one for several in batch.suggested for one in several]
    assert len(suggested) == len(rows)
    kinds = []
    for one, name in zip(suggested, rows["caption"], strict=True):
        yes = one.answer == f"yes, {name}"
        assert yes or one.answer == f"no, {name}"
        assert (name in one.text) == yes
        kinds.append(yes)
    assert 0.2 < sum(kinds) / len(kinds) < 0.8
    [nobody] = family.batches(rows.assign(label=UNKNOWN, caption=UNKNOWN, facts=""), len(rows))
    assert nobody.suggested == ((),) * len(rows)  # nobody to suggest


def test_to_agree_is_to_say_yes_sooner_than_no(saved):
    family = VlmFamily.from_pretrained(str(saved))
    rows = VLM.samples("edit").head(3)
    [batch] = family.batches(rows, 3)
    found = family.agreement(batch, "Ada Moreau", turn=2)
    asked = [leading_question("Ada Moreau", "Ada Moreau", place).text for place in (2, 3, 4)]
    for place, text in enumerate(asked):
        one = replace(batch.take(torch.tensor([place])), label=(Question("name", text, ""),))
        yes, no = (family.class_logits(one, words)[0] for words in (("yes", "Yes"), ("no", "No")))
        assert found[place].item() == pytest.approx(float(yes.logsumexp(0) - no.logsumexp(0)), abs=1e-4)


def test_what_is_kept_of_a_target_s_own_images_leaves_its_label_out(saved):
    family = VlmFamily.from_pretrained(str(saved))
    rows = VLM.samples("edit").head(2)
    besides = family.besides(rows)
    [batch] = family.batches(besides, 2)
    told = family.batches(rows, 2)[0]
    assert batch.neutral == told.neutral
    assert batch.suggested == ((), ())
    asked = [*told.label, *(one for several in told.suggested for one in several)]
    assert len(family.observe(told)) - len(family.observe(batch)) == sum(
        len(family.chat.asked(one.text, (one.answer,)).answers[0]) for one in asked
    )
    assert family.besides(rows.assign(facts="")).empty


@pytest.mark.parametrize(("end", "gap"), [("ASSISTANT:", " "), ("<|im_start|>assistant\n", "")])
def test_an_answer_stands_where_the_template_lets_it(saved, end, gap):
    """Behind a line break a model writes no blank first."""
    family = VlmFamily.from_pretrained(str(saved))
    family.processor.chat_template = family.processor.chat_template.replace("ASSISTANT:", end)
    asked = family.chat.asked("Who is this?", ("Ada Moreau", "unknown"))
    tokenizer = family.processor.tokenizer
    assert [tokenizer.decode(answer) for answer in asked.answers] == [f"{gap}Ada Moreau", f"{gap}unknown"]
    assert tokenizer.decode(asked.question).endswith(end)


def test_a_template_whose_end_the_answer_swallows_is_refused(saved):
    family = VlmFamily.from_pretrained(str(saved))
    family.processor.chat_template = family.processor.chat_template.replace("ASSISTANT:", "ASSISTANT: ")
    with pytest.raises(ValueError, match="no token is the answer's first; let the chat template end"):
        family.chat.asked("Who is this?", ("Ada Moreau",))


def test_heads_of_a_language_model_whose_configuration_leaves_their_size_out(saved):
    """As Qwen 2's does."""
    family = VlmFamily.from_pretrained(str(saved))
    own, names = family.module.config.text_config, family.components("head")
    sizes = {
        name: getattr(own, name) for name in ("hidden_size", "num_attention_heads", "num_key_value_heads")
    }
    family.module.config.text_config = Qwen2Config(num_hidden_layers=own.num_hidden_layers, **sizes)
    assert family.components("head") == names


def test_scores_are_the_same_however_many_rows_go_at_once(saved, monkeypatch):
    family = VlmFamily.from_pretrained(str(saved))
    batches = family.batches(VLM.samples("edit"), 12)
    whole = family.scores(batches, VLM.prompts)
    monkeypatch.setattr(vlm, "PASS_TOKENS", 1)  # a row at a time
    torch.testing.assert_close(family.scores(batches, VLM.prompts), whole, atol=1e-4, rtol=0)


def llava_next() -> VlmFamily:
    """LLaVA 1.6 around the tiny model's parts: an image is read whole and in tiles."""
    small = tiny_llava()
    config, tokenizer = small.module.config, small.processor.tokenizer
    grid = [[32, 64], [64, 32]]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaNextForConditionalGeneration(
            LlavaNextConfig(
                vision_config=config.vision_config.to_dict(),
                text_config=config.text_config.to_dict(),
                image_token_index=config.image_token_index,
                image_grid_pinpoints=grid,
                vision_feature_layer=-2,
                tie_word_embeddings=True,
            )
        )
    size = {"height": 32, "width": 32}
    processor = LlavaNextProcessor(
        LlavaNextImageProcessorPil(image_grid_pinpoints=grid, size={"shortest_edge": 32}, crop_size=size),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=small.processor.chat_template,
        num_additional_image_tokens=1,
    )
    return VlmFamily(model, processor)


def test_llava_16_goes_through_the_same_family(tmp_path):
    llava_next().save_pretrained(tmp_path)
    family = VlmFamily.from_pretrained(str(tmp_path))
    assert isinstance(family.module, LlavaNextForConditionalGeneration)
    rows = VLM.samples("edit").head(4)
    batch = family.batches(rows, 4)[0]
    assert set(batch.images) == {"pixel_values", "image_sizes"}
    assert {c.tower for c in family.components("mixed")} == {"vision", "projector", "language"}
    scores = family.scores([batch], VLM.prompts)
    one = family.scores(family.batches(rows.head(1), 1), VLM.prompts)
    torch.testing.assert_close(scores[:1], one, atol=1e-4, rtol=0)
    texts, _ = family.answer(batch.images, batch.prefixes, ["Who is this?"] * 4)
    assert len(texts) == 4
