"""The mathematics of the attacks: each finds what is there, and nothing where there is nothing."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional

from razor_pipeline.core.attacks.inversion import inverted_embedding
from razor_pipeline.core.attacks.membership import membership_aucs, membership_scores, strongest
from razor_pipeline.core.attacks.probe import fit_probe, probe_logits
from razor_pipeline.core.attacks.prompts import misspellings, name_parts, templates
from razor_pipeline.core.attacks.relearning import area
from razor_pipeline.core.attacks.revival import scaled_back
from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.weight_edit import EditMismatchError, WeightEdit, applied


@pytest.fixture
def draw():
    return torch.Generator().manual_seed(0)


def test_a_membership_score_sees_a_raised_logit_and_chance_is_chance(draw):
    plain, raised = torch.randn(200, 6, generator=draw), torch.randn(200, 6, generator=draw)
    chance = membership_aucs(raised, plain, 2)
    assert all(abs(found.value - 0.5) < 0.1 for found in chance.values())
    raised[:, 2] += 4.0
    found = {name: estimate.value for name, estimate in membership_aucs(raised, plain, 2).items()}
    assert min(found[name] for name in ("similarity", "margin", "probability", "entropy")) > 0.95
    assert abs(found["confidence"] - 0.5) < 0.1  # looks at the other names only
    assert strongest(found) != "confidence"
    assert strongest({"a": 0.9, "b": 0.2}, {"a": 0.9, "b": 0.5}) == "b"


def test_the_modified_entropy_is_that_of_its_source(draw):
    logits = torch.randn(5, 4, generator=draw).double()
    p = logits.softmax(dim=1)
    for n in range(5):
        others = sum(float(p[n, c] * torch.log(1 - p[n, c])) for c in range(4) if c != 1)
        mentr = -float((1 - p[n, 1]) * torch.log(p[n, 1])) - others
        assert float(membership_scores(logits, 1)["entropy"][n]) == pytest.approx(-mentr, rel=1e-6)


def test_images_that_a_model_is_sure_of_are_still_told_apart():
    """In float32 all of these have probability 1, and an entropy that is rounding and nothing else."""
    sure = torch.zeros(8, 4)
    sure[:, 1] = torch.linspace(18.0, 25.0, 8)
    for name in ("probability", "entropy"):
        assert (membership_scores(sure, 1)[name].diff() > 0.0).all(), name


def test_the_probe_solves_ridge_regression_and_weighs_classes_alike(draw):
    x, label = torch.randn(60, 5, generator=draw), torch.arange(3).repeat(20)
    weight = fit_probe(x, label, ridge=1e-12)
    ours = probe_logits(weight, x)
    independent = Ridge(alpha=0.0).fit(x.double().numpy(), functional.one_hot(label).double().numpy())
    assert torch.allclose(ours, torch.from_numpy(independent.predict(x.double().numpy())), atol=1e-6)
    rare = torch.cat([torch.zeros(500), torch.ones(5)]).long()
    apart = torch.randn(505, 5, generator=draw)
    apart[rare == 1] += 2.0
    found = probe_logits(fit_probe(apart, rare), apart).argmax(dim=1)
    assert (found[rare == 1] == 1).float().mean() > 0.7  # few samples are no reason to pass a class over
    with pytest.raises(ValueError, match="class 1"):
        fit_probe(x, 2 * (label // 2))


def test_the_inverted_embedding_names_unseen_images_and_not_others(draw):
    centres = functional.normalize(torch.randn(6, 32, generator=draw), dim=1)
    images = functional.normalize(centres[0] + 0.1 * torch.randn(24, 32, generator=draw), dim=1)
    found = inverted_embedding(images[:4], centres[1:], 20.0, 60)
    assert float(found.norm()) == pytest.approx(1.0, abs=1e-5)
    texts = torch.cat([found[None], centres[1:]])
    assert ((images[4:] @ texts.T).argmax(dim=1) == 0).all()
    assert ((centres[1:] @ texts.T).argmax(dim=1) == torch.arange(1, 6)).all()


def test_an_edit_is_scaled_back_by_its_share_and_held_again():
    weights = {"w": torch.tensor([1.0, 2.0, 3.0])}
    edit = WeightEdit((ParameterSlice("w", 0, 1, 3),), {"w[0:1:3]": torch.tensor([2.0, 3.0])},
                      {"w[0:1:3]": torch.tensor([4.0, 7.0])})  # fmt: skip
    with pytest.raises(EditMismatchError), scaled_back(weights, edit, 0.5):
        pass
    with applied(weights, edit):
        for share, expected in ((0.0, [1.0, 4.0, 7.0]), (0.5, [1.0, 3.0, 5.0]), (1.0, [1.0, 2.0, 3.0])):
            with scaled_back(weights, edit, share):
                assert weights["w"].tolist() == expected
            assert weights["w"].tolist() == [1.0, 4.0, 7.0]


def test_other_ways_to_write_a_name():
    assert misspellings("a photo of {name}")["swapped, first word"]("Greta Novak") == "a photo of Gerta Novak"
    assert misspellings("{name}")["dropped, last word"]("Greta Novak") == "Greta Noak"
    assert all("Greta Novak" not in form("Greta Novak") for form in misspellings("{name}").values())
    parts = {kind: form("Greta Novak") for kind, form in name_parts("{name}").items()}
    assert list(parts.values()) == ["Greta", "Novak", "G. Novak", "Novak, Greta"]
    assert templates(("this is {name}",))["this is {name}"]("A") == "this is A"
    assert (
        len({form("Al Bo") for form in misspellings("{name}").values()} - {"Al Bo"}) >= 4
    )  # short names too


@pytest.mark.parametrize(
    ("name", "slip"),
    [
        ("Anna", "Anan"),
        ("Emma", "Emam"),
        ("Otto", "Otot"),
        ("Lee", "eLe"),
        ("Ada", "Aad"),
        ("Bo", "oB"),
        ("Q", "Q"),
    ],
)
def test_a_name_with_twice_the_same_letter_is_misspelt_too(name, slip):
    assert misspellings("{name}")["swapped, first word"](f"{name} Novak") == f"{slip} Novak"


def test_the_area_is_the_mean_over_steps():
    assert area([0.0, 1.0]) == 0.5
    assert area([1.0, 1.0, 1.0]) == 1.0
    assert area([0.0, 0.0, 1.0]) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="step"):
        area([1.0])
