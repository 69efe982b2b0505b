"""Tables of one's own: every value is a text, and what is missing or of no use is told."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from razor_pipeline.datasets.sources import listing
from razor_pipeline.datasets.tables import list_table, told_apart
from razor_pipeline.manifest import DataError, complete
from razor_pipeline.params.data import AtelierParams, DataParams


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_is_read_and_its_paths_are_relative_to_it(tmp_path, suffix):
    table = pd.DataFrame({"image_path": ["x/1.png", "x/1.png"], "caption": ["one", "two"]})
    path = tmp_path / f"pairs.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    found = list_table(path)
    assert list(found["image_path"]) == [str(tmp_path / "x/1.png")] * 2
    assert list(found["sample_id"]) == ["x/1.png", "x/1.png#1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is not a file"),
        ("", "cannot be read"),
        ("image_path,style\nx.png,ink\n", "lacks the column caption or label"),
        ("caption\none\n", "lacks the column image_path"),
        ("image_path,caption\n", "no rows"),
        ("image_path,caption\n,one\n", "without image_path"),
    ],
)
def test_an_unusable_table_is_refused(tmp_path, text, message):
    path = tmp_path / "pairs.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        list_table(path)


def test_columns_of_no_use_are_not_read(tmp_path):
    table = pd.DataFrame({"image_path": ["1.png"], "caption": ["one"], "image_bytes": [b"x" * 1000]})
    table.to_parquet(tmp_path / "pairs.parquet")
    assert list(list_table(tmp_path / "pairs.parquet").columns) == ["image_path", "caption", "sample_id"]


def parquet(tmp_path, **columns):
    path = tmp_path / "pairs.parquet"
    pd.DataFrame({"image_path": ["1.png", "2.png", "3.png"], **columns}).to_parquet(path)
    return path


@pytest.mark.parametrize(
    "labels",
    [
        [7, 7, 8],
        pd.array([7, 7, 8], dtype="Int8"),
        pd.Categorical([7, 7, 8]),
        pd.Categorical(["7", "7", "8"]),
        ["7", "7", "8"],
    ],
)
def test_whole_numbers_and_categories_are_texts(tmp_path, labels):
    path = parquet(tmp_path, label=labels)
    assert list(list_table(path)["label"]) == ["7", "7", "8"]
    told = listing(DataParams(source="manifest", path=str(path)), AtelierParams())
    assert set(told["prompt"]) == {"a photo of 7", "a photo of 8"}


@pytest.mark.parametrize(
    "style", [pd.Categorical(["ink", None, "oil"]), pd.array([1, None, 2], dtype="Int64"), [None] * 3]
)
def test_a_gap_in_a_column_that_may_have_some_is_one(tmp_path, style):
    path = parquet(tmp_path, label="a", style=style)
    told = listing(DataParams(source="manifest", path=str(path)), AtelierParams())
    assert told["style"].iloc[1] == ""
    assert (told["style"] == "").sum() == pd.isna(style).sum()
    path = parquet(tmp_path, label=style)
    with pytest.raises(DataError, match="rows have no label"):
        listing(DataParams(source="manifest", path=str(path)), AtelierParams())


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ([0.5, 1.5, 2.0], "double"),
        ([True, False, True], "bool"),
        (pd.to_datetime(["2026-01-01"] * 3), "timestamp"),
    ],
)
def test_a_column_that_is_no_text_is_named_with_its_type(tmp_path, labels, kind):
    with pytest.raises(
        DataError, match=rf"column label of data\.path '.*pairs\.parquet' is {kind}"
    ) as caught:
        list_table(parquet(tmp_path, label=labels))
    assert "\n" not in str(caught.value)


def test_names_that_look_like_nothing_are_names(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("image_path,label,style\n1.png,NA,None\n2.png,null,\n3.png,nan,N/A\n")
    found = list_table(path)
    assert list(found["label"]) == ["NA", "null", "nan"]
    assert list(found["style"].fillna("")) == ["None", "", "N/A"]
    path.write_text("image_path,label\n1.png,NA\n2.png,\n")
    with pytest.raises(DataError, match=r"1 rows have no label, e\.g\. 2\.png"):
        listing(DataParams(source="manifest", path=str(path)), AtelierParams())


@pytest.mark.parametrize(("category", "told"), [("shoes", True), ("hat", False)])
def test_facts_that_no_question_asks_about_are_told(category, told, caplog):
    rows = pd.DataFrame({"sample_id": ["1"], "label": ["a"], "facts": [json.dumps({category: "red"})]})
    complete(rows, DataParams())
    assert ("No question asks about shoes" in caplog.text) is told


@pytest.mark.parametrize("facts", ["{bad", "[]", '{"glasses": 1}'])
def test_facts_that_are_no_texts_by_category_are_refused(facts):
    rows = pd.DataFrame({"sample_id": ["1", "2"], "label": ["a", "b"], "facts": ["", facts]})
    with pytest.raises(DataError, match=r"the facts of '2' are .*; write a JSON object of texts"):
        complete(rows, DataParams())
    sound = complete(rows.assign(facts=["", '{"glasses": "round glasses"}']), DataParams())  # control
    assert list(sound["facts"]) == ["", '{"glasses": "round glasses"}']


def test_names_that_are_there_twice_are_told_apart_from_all_others():
    names = pd.Series(["a", "a", "a#1", "b"])
    found = told_apart(names)
    assert found.is_unique
    assert list(found[[0, 1, 3]]) == ["a", "a#1", "b"]
