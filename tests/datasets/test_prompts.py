"""Prompts from outside: text and csv files, folders of them, and what is refused."""

import pytest
from kedro.io import DatasetError

from razor_pipeline.datasets.prompts import PromptsDataset


def load(source):
    return PromptsDataset(family="diffusion", source=str(source)).load()


def test_a_folder_of_text_and_csv_files_is_read_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b.txt").write_text("A cat in Mosaic style.\n\n  A dog in Neon style. \n")
    (tmp_path / "a.csv").write_text('seed,prompt\n1,"A fish, in Mosaic style."\n')
    (tmp_path / "notes.md").write_text("no prompt")
    assert load(tmp_path) == ["A fish, in Mosaic style.", "A cat in Mosaic style.", "A dog in Neon style."]
    assert load(tmp_path / "a.csv") == ["A fish, in Mosaic style."]
    assert PromptsDataset(family="clip", source=None).load() == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_what_windows_writes_before_a_text_is_no_part_of_it(tmp_path, encoding):
    (tmp_path / "a.txt").write_text("A cat.\n", encoding=encoding)
    (tmp_path / "b.csv").write_text("prompt\nA dog.\n", encoding=encoding)
    assert load(tmp_path) == ["A cat.", "A dog."]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.txt", None, "is no .txt or .csv file, and no folder of them"),
        ("prompts.json", b"[]", "is no .txt or .csv file"),
        ("empty.txt", b"\n \n", "holds no prompt"),
        ("other.csv", b"caption\na cat\n", "lacks the column prompt"),
        ("latin.txt", "caf\u00e9".encode("latin-1"), "cannot be read .*UTF-8"),
    ],
)
def test_what_holds_no_prompts_is_refused(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=sentence):
        load(tmp_path / name)


@pytest.mark.parametrize("family", ["clip", "vit", "vlm"])
def test_prompts_for_a_model_that_does_not_draw_are_refused_and_not_passed_over(tmp_path, family):
    (tmp_path / "a.txt").write_text("A cat in Mosaic style.\n")
    prompts = PromptsDataset(family=family, source=str(tmp_path))
    with pytest.raises(
        DatasetError, match=f"for a model that draws, and this one is of the family '{family}'"
    ):
        prompts.load()
    assert load(tmp_path)  # control: one that draws is asked them
