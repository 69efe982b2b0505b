import re
from pathlib import Path

import diffusers
import pytest
import torch
import transformers
import yaml
from families.cases import CASES, Case
from huggingface_hub import ModelCard

from razor_pipeline.model_card import model_card

HUB = {"id": "openai/clip-vit-large-patch14", "revision": "32bd642", "sha256": "ab" * 32}


def test_the_hub_reads_its_front_matter() -> None:
    card = ModelCard(model_card(HUB, ["Ada Moreau"], "razor", ["vision.1.mlp.fc1"], 7))
    assert card.data.base_model == HUB["id"]
    assert card.data.library_name == "transformers"
    assert "machine-unlearning" in card.data.tags
    drawn = ModelCard(model_card(HUB, ["Mosaic"], "razor", ["text.0.mlp.fc1"], 7, "diffusion"))
    assert (drawn.data.library_name, drawn.data.pipeline_tag) == ("diffusers", "text-to-image")


def test_it_is_honest_and_tells_what_is_needed_to_check_it() -> None:
    text = " ".join(model_card(HUB, ["Ada Moreau"], "razor", ["vision.1.mlp.fc1"], 7).split())
    for words in (
        "evidence of what",
        "not proof of erasure",
        HUB["sha256"],
        "| Seed | 7 |",
        "`vision.1.mlp.fc1`",
    ):
        assert words in text


@pytest.mark.parametrize("base", [".", "moved/since", "clip/0"])
def test_what_comes_from_no_hub_has_no_id_there(base: str) -> None:
    """A directory, one that is not here any more, and a version of a line of models, by its number."""
    front = model_card({"id": base, "revision": None}, ["Ada Moreau"], "razor", [], 0).split("---\n")[1]
    assert "base_model" not in yaml.safe_load(front)


@pytest.mark.parametrize("target", ["a|b", "two\nlines\n---\nbase_model: evil/model", "# heading"])
def test_a_hostile_name_breaks_neither_front_matter_nor_table(target: str) -> None:
    card = ModelCard(model_card(HUB, [target], "razor", [], 0))
    assert card.data.base_model == HUB["id"]
    assert "\nbase_model: evil" not in card.text
    assert card.text.count("\n# ") + card.text.startswith("# ") == 1


def test_a_card_to_be_published_need_not_name_the_target() -> None:
    assert "one concept" in model_card(HUB, [], "razor", [], 0)


def test_it_names_every_target_and_says_of_a_model_that_draws_that_it_draws() -> None:
    assert "to make it stop recognising “A”, “B”." in model_card(HUB, ["A", "B"], "razor", [], 0)
    assert "to make it stop drawing “A”." in model_card(HUB, ["A"], "razor", [], 0, "diffusion3")


def test_long_lists_of_components_are_cut() -> None:
    text = model_card(HUB, ["x"], "razor", [f"vision.{i}.mlp.fc1" for i in range(40)], 0)
    assert "and 8 more" in text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_card_says_how_the_model_opens(case: Case, tmp_path: Path) -> None:
    family = case.build()
    family.save_pretrained(tmp_path)
    [line] = re.findall(r"## Opening it\n\n    (.*)\n", model_card(HUB, ["x"], "razor", [], 0, family.name))
    names = {"transformers": transformers, "diffusers": diffusers, "torch": torch, "path": tmp_path}
    opened = eval(line, names)
    assert type(opened) in (type(family.module), type(getattr(family, "pipeline", None)))
    parts = getattr(opened, "components", {"model": opened}).values()
    # Parts of different types can't draw together.
    assert len({part.dtype for part in parts if isinstance(part, torch.nn.Module)}) == 1
