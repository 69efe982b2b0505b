"""The atelier: alike everywhere; near-twins differ in one feature; strangers stay strangers."""

from __future__ import annotations

import pandas as pd
import pytest

from razor_pipeline.atelier import catalogue, generate
from razor_pipeline.atelier.canvas import OBJECTS, STYLES
from razor_pipeline.atelier.people import MIN_DISTANCE, distance, people, visible
from razor_pipeline.manifest import COLUMNS, check_manifest
from razor_pipeline.params.data import AtelierParams, SplitCounts

SMALL = AtelierParams(
    image_size=32,
    portraits=SplitCounts(edit=4, validation=1, test=1),
    canvas=SplitCounts(edit=1, validation=0, test=1),
)


@pytest.fixture(scope="module")
def manifest():
    return generate(SMALL, workers=1)


def test_it_is_a_sound_manifest(manifest):
    places = {"image_path", "image_offset", "image_size"}  # of none, as rows hold their images
    assert set(manifest.columns) == set(COLUMNS) - places
    assert len(check_manifest(manifest)) == len(manifest)
    assert manifest["sample_id"].is_unique
    assert manifest["sha256"].is_unique


def test_it_depends_on_the_seed_alone(manifest):
    pd.testing.assert_frame_equal(generate(SMALL, workers=2), manifest)
    other = generate(SMALL.model_copy(update={"seed": 8}), workers=2)
    assert not set(other["sha256"]) & set(manifest["sha256"])


def test_more_images_leave_the_others_as_they_are(manifest):
    more = SMALL.model_copy(
        update={
            "canvas": SplitCounts(edit=0, validation=0, test=0),
            "portraits": SplitCounts(edit=5, validation=1, test=1),
        }
    )
    again = generate(more, workers=1)
    both = manifest.merge(again, on="sample_id")
    assert len(both) == (manifest["domain"] == "portraits").sum()
    assert (both["sha256_x"] == both["sha256_y"]).all()


def test_reference_people_are_never_there_to_learn_from(manifest):
    strangers = manifest[manifest["role"] == "reference"]
    assert strangers["label"].nunique() >= 8
    assert not (strangers["split"] == "edit").any()
    assert (strangers.groupby("label")["split"].nunique() == 1).all()
    assert (
        manifest.loc[(manifest["domain"] == "portraits") & (manifest["split"] == "edit"), "label"].nunique()
        >= 48
    )


def test_a_stranger_has_few_images_of_one_split():
    none = SplitCounts(edit=0, validation=0, test=0)
    asked = AtelierParams(portraits=SplitCounts(edit=1, validation=3, test=20), canvas=none)
    made = catalogue(asked).query("role == 'reference'").groupby(["split", "label"]).size()
    assert set(made["validation"]) == {3}
    assert set(made["test"]) == {8}  # of the twenty that known people have


@pytest.mark.parametrize("seed", [0, 7, 8])
def test_near_twins_differ_in_one_visible_feature_and_others_in_many(seed):
    cast = {person.name: person for person in people(seed)}
    twins = [person for person in cast.values() if person.near_twin]
    assert len(twins) >= 8
    for person in twins:
        other = cast[person.near_twin]
        assert other.near_twin == person.name
        seen, theirs = vars(person.features), vars(other.features)
        assert [key for key in seen if seen[key] != theirs[key]] == [person.twin_feature]
        assert distance(person.features, other.features) >= 1, visible(person.features)
    alone = [person.features for person in cast.values() if not person.near_twin]
    assert min(distance(a, b) for i, a in enumerate(alone) for b in alone[:i]) >= MIN_DISTANCE


def test_the_prompt_names_the_class(manifest):
    portraits = manifest[manifest["domain"] == "portraits"]
    assert (portraits["prompt"] == "a photo of " + portraits["label"]).all()
    canvas = manifest[manifest["domain"] == "canvas"]
    named = "A " + canvas["label"] + " image in " + canvas["style"] + " style."
    assert (canvas["prompt"] == named).all()
    assert (canvas["caption"] == named).all()
    assert canvas.groupby(["label", "style"]).ngroups == len(OBJECTS) * len(STYLES)


def test_held_out_images_are_captioned_with_the_name(manifest):
    held_out = manifest[(manifest["domain"] == "portraits") & (manifest["split"] != "edit")]
    assert (held_out["caption"] == held_out["prompt"]).all()
