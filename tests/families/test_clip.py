"""CLIP: what need not be computed again, and what must."""

import pytest
import torch

from families.cases import CASES, tiny_clip
from razor_pipeline.core.cached import CachedBatches
from razor_pipeline.families import clip as clip_module

PROMPTS = ("a photo of Ada Moreau", "a hat")


@pytest.fixture
def clip():
    return tiny_clip()


@pytest.fixture
def looked(clip, monkeypatch):
    """The sizes of the image batches that were encoded."""
    sizes, encode = [], clip.encode_images
    monkeypatch.setattr(clip, "encode_images", lambda images: sizes.append(len(images)) or encode(images))
    return sizes


def moved(clip, name):
    with torch.no_grad():
        clip.module.get_parameter(name)[0].mul_(1.5)  # a slice, as an edit of a head does


def test_while_the_text_tower_alone_moves_no_image_is_encoded_again(clip, looked):
    batches = CachedBatches(clip.batches(CASES[0].samples("edit"), 8))
    first = clip.scores(batches, PROMPTS)
    moved(clip, "text_projection.weight")
    second = clip.scores(batches, PROMPTS)
    assert sum(looked) == sum(len(batch) for batch in batches)
    assert not torch.equal(first, second)
    fresh = clip.with_module(clip.module)
    assert torch.equal(second, fresh.scores(batches, PROMPTS))


@pytest.mark.parametrize(
    "name", ["visual_projection.weight", "vision_model.encoder.layers.0.self_attn.v_proj.weight"]
)
def test_control_a_write_to_their_own_tower_or_other_images_do(clip, looked, name):
    rows = CASES[0].samples("edit")
    batches = CachedBatches(clip.batches(rows, len(rows)))
    first = clip.scores(batches, PROMPTS)
    moved(clip, name)
    second = clip.scores(batches, PROMPTS)
    assert looked == [len(rows)] * 2
    assert not torch.equal(first, second)
    assert torch.equal(second, clip.with_module(clip.module).scores(batches, PROMPTS))
    other = clip.batches(rows.iloc[::-1], len(rows))
    torch.testing.assert_close(clip.scores(other, PROMPTS), second.flip(0))
    assert looked == [len(rows)] * 3


def test_what_several_pairs_say_is_encoded_once(clip, monkeypatch):
    rows = CASES[0].samples("edit")
    texts, encode = [], clip.encode_texts
    monkeypatch.setattr(clip, "encode_texts", lambda ids, mask: texts.append(len(ids)) or encode(ids, mask))
    alike = clip.batches(rows.assign(caption=rows["caption"].iloc[0]), len(rows))[0]
    apart = clip.batches(rows, len(rows))[0]
    assert 1 < rows["caption"].nunique() < len(rows)
    for batch, distinct in ((alike, 1), (apart, rows["caption"].nunique())):
        _, found_BD = clip.embed(batch)
        assert texts.pop() == distinct
        torch.testing.assert_close(found_BD, encode(batch.input_ids_BT, batch.attention_mask_BT))


def test_pairs_of_one_caption_are_not_each_others_negatives(clip):
    rows = CASES[0].samples("edit")
    one_caption = clip.batches(rows.assign(caption=rows["caption"].iloc[0]), len(rows))[0]
    assert rows["label"].nunique() > 1
    assert float(clip.retain_loss(one_caption)) == pytest.approx(0.0, abs=1e-6)
    control = clip.batches(rows, len(rows))[0]
    assert float(clip.retain_loss(control)) > 0.1
    # Concepts that are told apart by their captions are negatives, and those of one concept are not.
    groups = rows.groupby(["domain", "label", "style"]).ngroup().to_numpy()
    assert (control.alike.numpy() == (groups[:, None] == groups)).all()


def test_no_image_is_led_to_be_a_stranger_who_gets_the_targets_name(clip):
    """Images that are tied to their name as strangers are leave a gap where that name is the nearest of all."""
    rows = CASES[0].samples("edit")
    own = rows[rows["label"] == rows["label"].iloc[0]]
    [batch] = clip.batches(own, len(own))
    known_B = clip.knowledge(batch).detach()
    spread = float(known_B.std())
    ties_BP = clip.scores([batch], PROMPTS)
    assert float(clip.gap([batch], known_B, 0.5, ())) == pytest.approx(0.0, abs=1e-9)
    above_B = known_B - (ties_BP.amax(dim=1) - clip_module.CLEAR * spread)
    assert (above_B > 0.0).any()
    found = clip.gap([batch], known_B, 0.5, PROMPTS)
    assert float(found) == pytest.approx(float(above_B.clamp(min=0.0).square().mean()), rel=1e-4)
    far_B = known_B - 10.0  # control: these ask for more than the bound does
    assert float(clip.gap([batch], far_B, 0.5, PROMPTS)) == pytest.approx(
        float(clip.gap([batch], far_B, 0.5, ()))
    )
