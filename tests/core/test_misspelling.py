import pytest
import torch

from razor_pipeline.core.attacks.prompts import misspellings
from razor_pipeline.core.misspelling import misspelt


def drawn(name, count, seed=0):
    return misspelt(name, count, torch.Generator().manual_seed(seed))


def differing(one, other):
    return [place for place, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def test_one_letter_is_wrong_each_time_and_no_two_are_alike():
    found = drawn("Ada Moreau", 48)
    assert len(set(found)) == 48
    assert all(len(differing("Ada Moreau", name)) == 1 for name in found)
    assert all(name.istitle() for name in found)
    assert {place for name in found for place in differing("Ada Moreau", name)} >= {0, 1, 2, 4, 9}


def test_a_seed_gives_the_same_and_another_one_others():
    assert drawn("Ada Moreau", 8) == drawn("Ada Moreau", 8) != drawn("Ada Moreau", 8, seed=1)


def test_what_names_another_is_no_slip():
    assert "car" in drawn("cat", 100)  # control
    found = misspelt("cat", 100, torch.Generator().manual_seed(0), others=["cat", "Car", "dog"])
    assert set(found) == set(drawn("cat", 100)) - {"car"}


@pytest.mark.parametrize(("name", "most"), [("X", 25), ("7", 0)])
def test_a_name_of_few_letters_has_few_slips(name, most):
    assert len(drawn(name, 100)) == most


@pytest.mark.parametrize("name", ["Ada Moreau", "Greta Novak", "Jonas Berger", "tree"])
def test_none_is_among_the_slips_that_an_edit_is_tested_with(name):
    tested = {form(name) for form in misspellings("{name}").values()} - {name}
    assert tested
    assert not tested & set(drawn(name, 10_000))
