"""From a source to a manifest: complete, without leaks between splits, or refused with the reason."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from razor_pipeline.datasets import sources
from razor_pipeline.datasets.sources import image_captions, listing
from razor_pipeline.families.pretraining import training_rows
from razor_pipeline.manifest import COLUMNS, DataError, arranged
from razor_pipeline.param_errors import ParameterError
from razor_pipeline.params.data import AtelierParams, DataParams, SplitCounts
from razor_pipeline.params.pretraining import PretrainingParams, RetrainingParams

ORL = Path(__file__).parents[3] / "shared/data/orl_faces"
ATELIER = AtelierParams()


@pytest.fixture
def folder(tmp_path):
    """Three classes of ten different images."""
    rng = np.random.default_rng(1)
    for label in "abc":
        (tmp_path / label).mkdir()
        for i in range(10):
            pixels = rng.integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{i}.png")
    return tmp_path


def read(folder, **options):
    return image_captions(DataParams(source="folder", path=str(folder), **options), ATELIER)


def sizes(manifest, label):
    return manifest[manifest["label"] == label].groupby("split").size().to_dict()


def test_a_folder_becomes_a_manifest(folder):
    manifest, quarantine = read(folder)
    assert list(manifest.columns) == list(COLUMNS)
    assert len(manifest) == 30
    assert quarantine.empty
    assert sizes(manifest, "a") == {"edit": 5, "validation": 2, "test": 3}
    assert set(manifest["caption"]) == {"a photo of a", "a photo of b", "a photo of c"}


@pytest.mark.parametrize(
    ("name", "files", "source"),
    [
        ("pairs.csv", None, "manifest"),
        ("pairs.parquet", None, "manifest"),
        ("saved", ["state.json", "data-00000-of-00001.arrow"], "datasets"),
        ("saved", ["dataset_dict.json", "train/state.json"], "datasets"),
    ],
)
def test_a_table_or_saved_data_set_given_as_a_folder_names_its_source(tmp_path, name, files, source):
    """Without that, who gave several saved data sets was told to remove one of them."""
    for file in [name] if files is None else [f"{name}/{file}" for file in files]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(DataError, match=f"set data.source={source}$"):
        read(tmp_path / name)


def test_unlearncanvas_layout_is_read_with_both_concepts_in_the_caption(tmp_path):
    for style in ("Pop_Art", "Mosaic"):
        for name in ("Cats", "Dogs"):
            (tmp_path / style / name).mkdir(parents=True)
            for i in range(5):
                pixels = np.full(
                    (8, 8), 40 * i + len(style) + len(name + style) * (name == "Cats"), dtype=np.uint8
                )
                Image.fromarray(pixels).save(tmp_path / style / name / f"{i}.jpg")
    template = "A {label} image in {style} style."
    data = DataParams(source="styles", path=str(tmp_path), caption_template=template)
    manifest, _ = image_captions(data, ATELIER)
    assert len(manifest) == 20
    assert manifest["label"].value_counts().to_dict() == {"Cats": 10, "Dogs": 10}
    assert set(manifest["style"]) == {"Pop Art", "Mosaic"}
    assert set(manifest.loc[manifest["style"] == "Pop Art", "prompt"]) == {
        "A Cats image in Pop Art style.",
        "A Dogs image in Pop Art style.",
    }
    assert manifest["sample_id"].is_unique
    by_style, _ = image_captions(data.model_copy(update={"concept": "style"}), ATELIER)
    assert set(by_style["label"]) == {"Pop Art", "Mosaic"}


@pytest.mark.parametrize(
    ("source", "template", "field"),
    [
        ("styles", "A {label} image", "{style}"),
        ("styles", "{style}", "{label}"),
        ("folder", "a photo", "{label}"),
    ],
)
def test_a_template_that_leaves_a_concept_out_is_refused(source, template, field):
    with pytest.raises(ParameterError, match=f"lacks {field}"):
        DataParams.model_validate({"source": source, "path": "x", "caption_template": template})


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{label} by {artist}", "{artist} means nothing; it may hold {label} and {style}"),
        ("{label} {0}", "{0} means nothing"),
        ("{label} {", "does not read as a template"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(template, said):
    with pytest.raises(ParameterError, match=re.escape(said)):
        DataParams.model_validate({"source": "folder", "path": "x", "caption_template": template})
    DataParams.model_validate({"source": "folder", "path": "x", "caption_template": "{label} {style} {{x}}"})


def test_styles_of_a_table_whose_prompts_do_not_name_them_are_refused():
    """The anchor of a style, and what is kept beside it, would be the very prompt that is to be forgotten."""
    pairs = [(label, style) for label in ("cat", "dog") for style in ("Mosaic", "Neon")]
    rows = pd.DataFrame(pairs, columns=["label", "style"]).assign(domain="d", prompt="")
    data = DataParams(source="manifest", path="x", concept="style")
    rows["prompt"] = [f"a photo of {label}" for label, _ in pairs]
    with pytest.raises(
        DataError, match="prompt 'a photo of cat' is that of 2 concepts, among them Mosaic and Neon"
    ):
        arranged(rows, data)
    rows["prompt"] = [f"a {label} in {style} style" for label, style in pairs]
    assert list(arranged(rows, data)["label"]) == ["Mosaic", "Neon"] * 2


def test_a_folder_without_styles_is_refused(tmp_path):
    template = "{label} {style}"
    with pytest.raises(DataError, match="holds no style folder"):
        image_captions(DataParams(source="styles", path=str(tmp_path), caption_template=template), ATELIER)


def test_exact_counts_are_kept(folder):
    manifest, _ = read(folder, split_counts=SplitCounts(edit=6, validation=1, test=2))
    assert sizes(manifest, "b") == {"edit": 6, "validation": 1, "test": 2}


def test_the_split_depends_on_seed_and_names_alone(folder):
    first, again, other = read(folder)[0], read(folder)[0], read(folder, seed=1)[0]
    pd.testing.assert_frame_equal(first, again)
    assert list(first["split"]) != list(other["split"])


def test_a_further_class_moves_no_image_of_the_others(folder):
    before = read(folder)[0].set_index("sample_id")["split"]
    (folder / "d").mkdir()
    for i in range(10):
        Image.new("L", (4, 4), 20 * i).save(folder / f"d/{i}.png")
    after = read(folder)[0].set_index("sample_id")["split"]
    assert (after[before.index] == before).all()


def test_reference_classes_are_never_there_to_edit_with(folder):
    manifest, _ = read(folder, reference_labels=("a", "b"))
    assert sizes(manifest, "a") == {"validation": 10}
    assert sizes(manifest, "b") == {"test": 10}
    assert set(manifest.loc[manifest["label"] == "c", "role"]) == {"retain"}


def test_duplicates_are_dropped_before_the_split_and_counted(folder, caplog):
    (folder / "a/copy.png").write_bytes((folder / "a/0.png").read_bytes())
    with caplog.at_level(logging.WARNING):
        manifest, _ = read(folder)
    assert manifest["sha256"].is_unique
    assert "1 exact duplicates were dropped" in caplog.text


def test_bad_files_go_to_quarantine_up_to_the_limit(folder, caplog):
    (folder / "a/broken.png").write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        manifest, quarantine = read(folder, max_quarantined_share=0.05)
    assert len(manifest) == 30
    assert list(quarantine["image_path"]) == [str(folder / "a/broken.png")]
    assert "1 of 31 images were put in quarantine" in caplog.text
    with pytest.raises(DataError, match=r"1 of 31 images cannot be used.*broken.png"):
        read(folder, max_quarantined_share=0.03)


def test_files_that_are_no_images_are_put_in_quarantine_and_counted(folder, caplog):
    (folder / "a/clip.gif").write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        manifest, quarantine = read(folder, max_quarantined_share=0.05)
    assert len(manifest) == 30
    assert list(quarantine["image_path"]) == [str(folder / "a/clip.gif")]
    assert "1 of 31 images were put in quarantine" in caplog.text
    (folder / "a/photo.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"2 of 32 images cannot be used.*clip.gif.*photo.heic"):
        read(folder, max_quarantined_share=0.05)


def test_refusals_of_a_folder(folder):
    with pytest.raises(DataError, match="'x', which is not in the data"):
        read(folder, reference_labels=("x",))
    (folder / "b/shared.png").write_bytes((folder / "a/0.png").read_bytes())
    with pytest.raises(DataError, match="more than one split"):
        [read(folder, seed=seed) for seed in range(20)]  # in some split the two copies part


@pytest.mark.parametrize(
    ("options", "kept", "told"),
    [
        (
            {"min_images_per_split": 4},
            10,
            "4 classes have fewer images than are needed: 'a' has 10 of 12 (4 edit, 4 validation, 4 test), 'b' has "
            "10 of 12 (4 edit, 4 validation, 4 test), 'c' has 10 of 12 (4 edit, 4 validation, 4 test) and 1 more; add "
            "images, remove such classes or lower data.min_images_per_split",
        ),
        (
            {},
            2,
            "1 class has fewer images than are needed: 'd' has 2 of 3 (1 edit, 1 validation, 1 test); add images or "
            "remove such classes",
        ),
        (
            {"min_images_per_split": 2},
            2,
            "1 class has fewer images than are needed: 'd' has 2 of 6 (2 edit, 2 validation, 2 test); add images or "
            "remove such classes",
        ),
        (
            {"split_counts": SplitCounts(edit=2, validation=1, test=0)},
            2,
            "1 class has fewer images than are needed: 'd' has 2 of 3 (2 edit, 1 validation, 0 test); add images, "
            "remove such classes or lower data.split_counts",
        ),
        (
            {"validation_share": 0.45, "test_share": 0.54},
            3,
            "1 class has fewer images than are needed: 'd' has 3 of 4 (1 edit, 1 validation, 2 test); add images, "
            "remove such classes or lower data.validation_share or data.test_share",
        ),
    ],
)
def test_all_classes_that_are_too_small_are_told_before_images_are_decoded(
    folder, options, kept, told, monkeypatch
):
    (folder / "d").mkdir()
    for i in range(kept):
        Image.new("L", (4, 4), i).save(folder / f"d/{i}.png")
    monkeypatch.setattr(sources, "read_images", None)
    with pytest.raises(DataError) as caught:
        read(folder, **options)
    assert str(caught.value) == told


def test_a_class_that_duplicates_make_too_small_is_told_afterwards(folder):
    (folder / "d").mkdir()
    for i in range(3):
        Image.new("L", (4, 4), min(i, 1)).save(folder / f"d/{i}.png")
    with pytest.raises(DataError, match="'d' has 2 of 3"):
        read(folder)


def table(folder, **columns):
    rows = pd.DataFrame({"image_path": [f"a/{i}.png" for i in range(4)], "caption": "a red a"}).assign(
        **columns
    )
    path = folder / "pairs.csv"
    rows.to_csv(path, index=False)
    return image_captions(DataParams(source="manifest", path=str(path)), ATELIER)[0]


def test_a_table_keeps_its_columns(folder):
    splits = ["edit", "edit", "validation", "test"]
    manifest = table(folder, label="a", split=splits, domain="letters", style="ink")
    assert list(manifest["split"]) == splits
    assert set(manifest["prompt"]) == {"a photo of a"}
    assert set(manifest["caption"]) == {"a red a"}
    assert set(manifest["domain"]) == {"letters"}
    assert set(manifest["style"]) == {"ink"}


def test_without_labels_each_caption_is_a_class(folder):
    manifest = table(folder)
    assert set(manifest["label"]) == set(manifest["prompt"]) == {"a red a"}


def captioned(folder, **options):
    """Ten images of each class, three captions each."""
    rows = [
        {"image_path": f"{label}/{i}.png", "label": label, "caption": f"{label}, {words}"}
        for words in ("in the garden", "at home", "by the sea")
        for label in "abc"
        for i in range(10)
    ]
    path = folder / "pairs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return image_captions(DataParams(source="manifest", path=str(path), **options), ATELIER)[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reference", [(), ("c",)], ids=["known", "strangers"])
def test_the_captions_of_an_image_stay_in_one_split(folder, seed, reference):
    manifest = captioned(folder, seed=seed, reference_labels=reference)
    assert len(manifest) == 90
    assert set(manifest.groupby("sha256")["split"].nunique()) == {1}
    assert sizes(manifest, "a") == {"edit": 15, "validation": 6, "test": 9}  # thrice a folder's
    assert sizes(manifest, "c") == ({"validation": 15, "test": 15} if reference else sizes(manifest, "a"))


def test_a_class_has_as_many_images_as_it_shows_and_not_captions(folder):
    counts = SplitCounts(edit=6, validation=3, test=2)
    with pytest.raises(DataError, match=r"3 classes have fewer images.*'a' has 10 of 11"):
        captioned(folder, split_counts=counts)
    manifest = captioned(folder, split_counts=SplitCounts(edit=5, validation=3, test=1))
    assert sizes(manifest, "a") == {"edit": 15, "validation": 9, "test": 3}


@pytest.mark.parametrize("spelt", ["Zoe\u0308", "Zo\u00eb"])
def test_an_accent_that_is_spelt_in_two_ways_is_one_name(folder, spelt):
    """As images come from a Mac and from Linux."""
    (folder / "a").rename(folder / "Zoe\u0308")
    (folder / "b").rename(folder / "Zo\u00eb")
    manifest, _ = read(folder)
    assert set(manifest["label"]) == {"Zo\u00eb", "c"}
    assert set(manifest["prompt"]) == set(manifest["caption"]) == {"a photo of Zo\u00eb", "a photo of c"}
    assert manifest["sample_id"].nunique() == 30
    assert all(Path(path).is_file() for path in manifest["image_path"])
    strangers, _ = read(folder, reference_labels=(spelt,))
    assert (strangers["role"] == "reference").sum() == 20
    assert len(training_rows(manifest, PretrainingParams(exclude=(spelt,)))) == sizes(manifest, "c")["edit"]
    assert RetrainingParams(groups={"a": [spelt]}).groups == {"a": ("Zo\u00eb",)}


def test_every_text_that_names_a_concept_has_one_spelling_of_accents(folder):
    told = {
        "label": "e\u0301",
        "style": "e\u0301",
        "prompt": "e\u0301",
        "near_twin": "e\u0301",
        "caption": "e\u0301",
    }
    assert (table(folder, **told)[list(told)] == "\u00e9").all(axis=None)


def test_with_labels_alone_a_table_has_the_captions_that_a_folder_would_have(folder):
    path = folder / "pairs.csv"
    pd.DataFrame({"image_path": [f"a/{i}.png" for i in range(5)], "label": "Ada"}).to_csv(path, index=False)
    for captions, caption in (("given", "a photo of Ada"), ("answer", "Ada"), ("class", "Ada")):
        data = DataParams(source="manifest", path=str(path), captions=captions)
        manifest, _ = image_captions(data, ATELIER)
        assert set(manifest["label"]) == {"Ada"}
        assert set(manifest["caption"]) == {caption}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"caption": ["one", None, "two", "three"], "label": "a"}, "1 rows have no caption, e.g. a/1.png"),
        ({"caption": ["one", "  ", "two", "three"], "label": "a"}, "1 rows have no caption"),
        ({"label": ["a", "a", None, "a"]}, "1 rows have no label"),
        (
            {"label": "a", "split": ["edit", "edit", "train", "test"]},
            "split of a/2.png is 'train'; it must be",
        ),
        ({"label": "a", "role": "unknown"}, "role of a/0.png is 'unknown'"),
        ({"label": "a", "role": "reference", "split": "edit"}, "4 reference rows have the split edit"),
    ],
)
def test_refusals_of_a_table(folder, columns, message):
    with pytest.raises(DataError, match=message) as caught:
        table(folder, **columns)
    assert "\n" not in str(caught.value)


def test_the_digits_are_real_handwriting_in_disjoint_splits():
    data = DataParams(source="digits", domain="digits", caption_template="{label}")
    manifest, quarantine = image_captions(data, ATELIER)
    assert quarantine.empty
    assert 1700 < len(manifest) <= 1797
    assert set(manifest["caption"]) == set(manifest["label"]) == set("0123456789")
    assert manifest.groupby("sha256")["split"].nunique().max() == 1
    image = Image.open(io.BytesIO(manifest["image_bytes"].iloc[0]))
    assert (image.size, image.mode) == ((8, 8), "L")
    assert np.asarray(image).max() > 200  # the full range of grey is used


@pytest.mark.parametrize(("by", "classes"), [("label", 12), ("style", 12)])
def test_classified_by_label_or_style_the_name_is_the_caption(by, classes):
    none, few = SplitCounts(edit=0, validation=0, test=0), SplitCounts(edit=1, validation=0, test=1)
    small = AtelierParams(image_size=32, portraits=none, canvas=few)
    plain, _ = image_captions(DataParams(), small)
    rows, _ = image_captions(DataParams(concept=by, captions="class"), small)
    assert rows["label"].nunique() == classes
    assert list(rows["label"]) == list(plain[by])
    assert (rows["caption"] == rows["label"]).all()
    assert (rows["prompt"] == rows["label"]).all()
    assert set(plain["caption"]).isdisjoint(rows["caption"])  # control
    assert list(rows["sha256"]) == list(plain["sha256"])


def test_where_requests_name_a_style_label_and_style_change_places():
    none, few = SplitCounts(edit=0, validation=0, test=0), SplitCounts(edit=1, validation=0, test=1)
    small = AtelierParams(image_size=32, portraits=none, canvas=few)
    plain, _ = image_captions(DataParams(), small)
    rows, _ = image_captions(DataParams(concept="style"), small)
    assert list(rows["label"]) == list(plain["style"])
    assert list(rows["style"]) == list(plain["label"])
    assert list(rows["caption"]) == list(plain["caption"])


def test_the_listing_names_what_the_manifest_will_hold(folder):
    few = SplitCounts(edit=1, validation=1, test=1)
    small = AtelierParams(image_size=32, portraits=few, canvas=few)
    for data in (
        DataParams(),
        DataParams(concept="style"),
        DataParams(source="digits"),
        DataParams(source="folder", path=str(folder), reference_labels=("a",)),
    ):
        atelier = small
        if data.concept == "style":
            none = SplitCounts(edit=0, validation=0, test=0)
            atelier = small.model_copy(update={"portraits": none})
        told = listing(data, atelier).drop_duplicates()
        made = image_captions(data, atelier)[0][["label", "style", "prompt", "role"]].drop_duplicates()
        columns = list(made.columns)
        pd.testing.assert_frame_equal(
            told.sort_values(columns, ignore_index=True), made.sort_values(columns, ignore_index=True)
        )


def test_a_class_needs_a_name():
    none, few = SplitCounts(edit=0, validation=0, test=0), SplitCounts(edit=1, validation=0, test=0)
    portraits = AtelierParams(image_size=32, portraits=few, canvas=none)
    with pytest.raises(
        DataError, match=r"48 rows have no style, e\.g\. portraits/ada-.*=label \(it is style\)"
    ):
        image_captions(DataParams(concept="style"), portraits)


@pytest.mark.skipif(not ORL.is_dir(), reason="the ORL photographs are not part of the repository")
def test_the_orl_photographs():
    counts = SplitCounts(edit=5, validation=2, test=3)
    manifest, quarantine = read(ORL, split_counts=counts, domain="faces")
    assert quarantine.empty
    assert manifest["label"].nunique() == 40
    assert all(sizes(manifest, label) == counts.model_dump() for label in manifest["label"].unique())
