"""Published sizes: the configurations make models of the published numbers of weights, and what is cut is cut."""

import pandas as pd
import pytest
import torch

from families.cases import portraits
from razor_pipeline.families.untrained import untrained


def rows(name):
    known = portraits()[lambda t: t["role"] == "retain"]
    if name.startswith("vit"):
        return known.assign(caption=[f"class {i}" for i in range(len(known))]).head(1000)
    return known


def weights(module):
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ("name", "part", "millions"),
    [
        ("clip_b32", None, 151.28),
        ("clip_l14", None, 427.62),
        ("sd15", "text_encoder", 123.06),
        ("sd15", "unet", 859.52),
        ("sd3", "text_encoder_2", 694.66),
        ("sd3", "transformer", 2028.33),
        ("llava", None, 7063.43),
    ],
)
def test_a_published_size_has_the_published_number_of_weights(name, part, millions):
    with torch.device("meta"):
        model = untrained(name, rows(name))
    module = getattr(model.module, part) if part else model.module
    assert weights(module) == pytest.approx(millions, rel=2e-4)


def test_the_classifier_has_them_too_but_for_its_classes():
    with torch.device("meta"):
        model = untrained("vit_b16", rows("vit_b16"))
    assert weights(model.module.vit) == pytest.approx(85.8, rel=1e-3)


def test_fewer_blocks_are_blocks_of_the_same_width():
    with torch.device("meta"):
        whole, cut = (untrained("clip_l14", rows("clip"), blocks) for blocks in (None, {"vision": 2}))
    assert len(cut.module.vision_model.encoder.layers) == 2
    assert len(cut.module.text_model.encoder.layers) == len(whole.module.text_model.encoder.layers)
    layers = [weights(model.module.vision_model.encoder.layers[0]) for model in (whole, cut)]
    assert layers[0] == layers[1]


@pytest.mark.parametrize(("name", "blocks"), [("clip_x", {}), ("clip_b32", {"denoiser": 1})])
def test_what_does_not_exist_is_refused_with_what_does(name, blocks):
    with pytest.raises(ValueError, match="choose"):
        untrained(name, pd.DataFrame(), blocks)
