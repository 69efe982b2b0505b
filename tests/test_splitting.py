"""The splitter: nothing lost, nothing in two places, the same draw every time; and what it refuses."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from razor_pipeline.manifest import arranged
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts, SplittingParams
from razor_pipeline.pipelines.splitting.nodes import check_request
from razor_pipeline.splitting import SplittingError, parse_targets, resolve_targets, split_samples

NAMES = ("Ada", "Bea", "Cleo", "Dora", "Enid")


def manifest(classes=NAMES, edit=6, validation=2, test=2, strangers=("Zoe",)):
    rows = []
    for label in (*classes, *strangers):
        known = label not in strangers
        for split, count in {"edit": edit if known else 0, "validation": validation, "test": test}.items():
            rows += [(label, split, i, "retain" if known else "reference", "faces") for i in range(count)]
    for label in ("cat", "dog"):
        rows += [(label, split, i, "retain", "canvas") for split in ("edit", "test") for i in range(4)]
    table = pd.DataFrame(rows, columns=["label", "split", "index", "role", "domain"])
    table["sample_id"] = table["label"] + "/" + table["split"] + "/" + table["index"].astype(str)
    table["prompt"] = "a photo of " + table["label"]
    return table.assign(caption=table["prompt"], sha256=table["sample_id"], near_twin="", style="")


def test_a_name_with_a_bar_in_it_is_told_how_it_is_given():
    """Control: as it says, it is found; other names with a bar between them are several."""
    rows = manifest((*NAMES, "tea|coffee"))
    with pytest.raises(SplittingError, match=r"'tea\|coffee' is one name .* target=\["):
        resolve_targets(rows, parse_targets("tea|coffee"))
    assert resolve_targets(rows, parse_targets(["tea|coffee"])) == ["tea|coffee"]
    assert resolve_targets(rows, parse_targets("Ada|Bea")) == ["Ada", "Bea"]


@given(
    targets=st.sets(st.sampled_from(NAMES), min_size=1, max_size=3),
    retain=st.integers(1, 60),
    validation=st.integers(1, 20),
    seed=st.integers(0, 5),
)
def test_roles_are_disjoint_and_nothing_but_the_surplus_is_lost(targets, retain, validation, seed):
    rows = manifest()
    params = SplittingParams(max_retain_samples=retain, max_validation_samples=validation)
    found = split_samples(rows, sorted(targets), params, seed)
    assert found["sample_id"].is_unique
    images = {role: set(own["sha256"]) for role, own in found.groupby("role")}
    assert not images["forget"] & (images["retain"] | images["reference"])
    assert images["forget"] == set(rows.loc[rows["label"].isin(targets), "sha256"])
    unknown = {
        split: found["role"].eq("reference") & found["split"].eq(split) for split in ("validation", "test")
    }
    assert sum(unknown["validation"]) == min(validation, 2)
    assert sum(unknown["test"]) == 2
    kept = found[found["role"] == "retain"].groupby("split").size()
    others = len(NAMES) - len(targets)
    assert kept["edit"] == min(retain, 6 * others + 8)
    assert kept["validation"] == min(validation, 2 * others)
    assert kept["test"] == 2 * others + 8


@given(seed=st.integers(0, 20), order=st.integers(0, 20))
def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_rows(seed, order):
    params = SplittingParams(max_retain_samples=9)
    rows = manifest()
    first = split_samples(rows, "Ada", params, seed)
    again = split_samples(rows.sample(frac=1, random_state=order), "Ada", params, seed)
    assert set(first["sample_id"]) == set(again["sample_id"])


def test_another_seed_draws_other_rows():
    params = SplittingParams(max_retain_samples=9)
    drawn = [frozenset(split_samples(manifest(), "Ada", params, seed)["sample_id"]) for seed in range(4)]
    assert len(set(drawn)) > 1


def test_every_class_is_drawn_from():
    params = SplittingParams(max_retain_samples=12)
    found = split_samples(manifest(), "Ada", params, 0)
    edit = found[(found["role"] == "retain") & (found["split"] == "edit")]
    assert edit.groupby("label").size().to_dict() == dict.fromkeys(
        ("Bea", "Cleo", "Dora", "Enid", "cat", "dog"), 2
    )


def test_validation_rows_are_of_the_targets_domain():
    rows = manifest()
    canvas = rows["domain"] == "canvas"
    rows.loc[canvas & (rows["split"] == "test") & (rows["index"] < 2), "split"] = "validation"
    found = split_samples(rows, "Ada", SplittingParams(), 0)
    assert set(found.loc[found["split"] == "validation", "domain"]) == {"faces"}
    assert set(found.loc[found["split"] == "test", "domain"]) == {"faces", "canvas"}


def test_as_many_test_rows_are_kept_as_are_asked_for_beside_targets_and_strangers():
    every = split_samples(manifest(test=20), "Ada", SplittingParams(), 0)
    found = split_samples(manifest(test=20), "Ada", SplittingParams(max_test_samples=12), 0)
    test, all_test = (rows[rows["split"] == "test"].groupby("role").size() for rows in (found, every))
    assert test.to_dict() == {"forget": 20, "reference": 20, "retain": 12}
    assert all_test.to_dict() == {"forget": 20, "reference": 20, "retain": 88}
    drawn = found[(found["split"] == "test") & (found["role"] == "retain")]
    assert set(drawn["label"]) == {"Bea", "Cleo", "Dora", "Enid", "cat", "dog"}
    rest = [rows[rows["split"] != "test"].reset_index(drop=True) for rows in (found, every)]
    pd.testing.assert_frame_equal(*rest)
    assert set(found["sample_id"]) <= set(every["sample_id"])


@pytest.mark.parametrize("most", [2, 8])
def test_no_class_loses_all_of_its_test_rows_to_larger_ones(most):
    """An image of the target is told from every known name, whatever the draw."""
    rows = manifest(test=20)
    rare = (rows["label"] == "Enid") & (rows["split"] == "test")
    rows = rows.drop(rows.index[rare][1:])
    found = split_samples(rows, "Ada", SplittingParams(max_test_samples=most), 0)
    drawn = found[(found["split"] == "test") & (found["role"] == "retain")]
    assert set(drawn["label"]) == {"Bea", "Cleo", "Dora", "Enid", "cat", "dog"}
    assert len(drawn) == max(most, 6)


def test_the_input_is_left_alone():
    rows = manifest()
    before = rows.copy()
    split_samples(rows, "Ada", SplittingParams(), 0)
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ("Ada", ["Ada"]),
        (" Ada |Bea|", ["Ada", "Bea"]),
        ("Ada|Bea|Ada", ["Ada", "Bea"]),
        (["Ada  Moreau", "Bea"], ["Ada Moreau", "Bea"]),
        ("Zoe\u0308|Zo\u00eb", ["Zo\u00eb"]),
    ],
)
def test_targets_are_parsed(given_, found):
    assert parse_targets(given_) == found


@pytest.mark.parametrize("empty", ["", "  ", "|", [], None, [" "]])
def test_no_target_is_refused(empty):
    with pytest.raises(SplittingError, match="target is empty"):
        parse_targets(empty)


def test_a_number_is_no_target():
    with pytest.raises(SplittingError, match="3, which is not a text"):
        parse_targets(["Ada", 3])


def test_a_caption_names_its_class_whatever_the_case():
    assert resolve_targets(manifest(), ["A PHOTO of ada", "bea", "Ada"]) == ["Ada", "Bea"]


def test_letter_case_matters_where_it_tells_two_classes_apart():
    """As in "cardigan", the knitwear, and "Cardigan", the dog; control: of one class any spelling will do."""
    both = manifest(classes=("Cardigan", "cardigan", "Zoë  May"))
    assert resolve_targets(both, ["Cardigan"]) == ["Cardigan"]
    assert resolve_targets(both, ["cardigan", "Cardigan"]) == ["cardigan", "Cardigan"]
    with pytest.raises(SplittingError, match="'CARDIGAN' may mean Cardigan or cardigan; spell it as"):
        resolve_targets(both, ["CARDIGAN"])
    assert resolve_targets(both, ["zoe\u0308 may", "ZOË MAY"]) == ["Zoë  May"]


def canvas():
    """Cats and dogs in two styles, listed as requests for objects find them."""
    rows = [(o, s, f"{o} in {s}", "retain") for o in ("cat", "dog") for s in ("Mosaic", "Neon")]
    return pd.DataFrame(rows, columns=["label", "style", "prompt", "role"]).assign(
        sample_id="x", domain="canvas"
    )


@pytest.mark.parametrize(
    ("concept", "target", "message"),
    [
        ("label", "mosaic", r"'Mosaic' is a style here; .* data.concept to style .*--env style\)"),
        ("style", "CAT", r"'cat' is an object here; .* data.concept to label .*--env object\)"),
        ("combination", "Cat", "'Cat' is one half of what requests name here; .*, e.g. cat in Mosaic"),
    ],
)
def test_a_name_of_the_other_kind_is_said_to_be_one(concept, target, message):
    rows = arranged(canvas(), DataParams(concept=concept))
    with pytest.raises(SplittingError, match=message) as caught:
        resolve_targets(rows, [target], concept)
    assert "\n" not in str(caught.value)
    with pytest.raises(SplittingError, match=r"other concept|one half"):
        resolve_targets(rows, [target])  # where a study knows the table alone
    with pytest.raises(SplittingError, match="not in the data"):  # control: a name of neither kind
        resolve_targets(rows, ["xyz"], concept)


@pytest.mark.parametrize(
    ("concept", "target", "kind"), [("style", "cat", "object"), ("label", "Neon", "style")]
)
def test_the_first_step_says_so_of_the_canvas(concept, target, kind):
    none = SplitCounts(edit=0, validation=0, test=0)
    with pytest.raises(SplittingError, match=f"'{target}' is an? {kind} here"):
        check_request(target, DataParams(concept=concept), AtelierParams(portraits=none), 0)


def with_one_image(rows):
    return rows.assign(sha256=rows["sha256"].str.replace(r"^Ada/edit/.*", "Ada/edit", regex=True))


def with_shared_image(rows):
    return rows.assign(sha256=rows["sha256"].replace("Bea/edit/0", "Ada/edit/0"))


@pytest.mark.parametrize(
    ("rows", "target", "message"),
    [
        (manifest(), "Adda", "'Adda' is not in the data; did you mean Ada"),
        (manifest(), "xyz", "'xyz' is not in the data; it has, among others"),
        (manifest(), "Zoe", "'Zoe' is a reference class: the base model never saw it"),
        (manifest(edit=2), "Ada", "has 2 edit images, 3 are needed"),
        (with_one_image(manifest()), "Ada", "has 1 edit images, 3 are needed"),
        (manifest(edit=0), "Ada", "has 0 edit images"),
        (manifest(validation=0), "Ada", "has 0 validation images"),
        (manifest(test=0), "Ada", "has 0 test images"),
        (manifest(), "|".join(NAMES), "nothing of the domain 'faces' is left to keep"),
        (manifest(), "Ada|cat", "has 0 validation images|belong to the domains"),
        (with_shared_image(manifest()), "Ada", r"Ada/edit/0, which is Bea/edit/0"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_sentence(rows, target, message):
    with pytest.raises(SplittingError, match=message) as caught:
        split_samples(rows, target, SplittingParams(), 0)
    assert "\n" not in str(caught.value)


def test_control_an_image_shared_among_what_is_kept_is_no_overlap():
    assert len(split_samples(with_shared_image(manifest()), "Cleo", SplittingParams(), 0))
