"""The measurement of memory: it grows where rows are held, and not where they are streamed."""

from __future__ import annotations

import pandas as pd
import pytest

from razor_pipeline.studies.memory import (
    gradient_pass,
    loaded,
    many_rows,
    memory_table,
    memory_text,
    split,
    write_shard,
    written,
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """All steps at small sizes, in this process."""
    folder = tmp_path_factory.mktemp("memory")
    write_shard(folder / "pictures.tar")
    found = [{"what": "gradient_pass", "rows": 200} | gradient_pass(folder / "pictures.tar", 200)]
    for step in (written, loaded, split):
        found.append({"what": step.__name__, "rows": 2000} | step(folder / "manifest.parquet", 2000))
    return pd.DataFrame(found)


def test_every_pass_and_step_is_a_row(rows):
    assert (rows["peak_mib"] > rows["added_mib"]).all()
    assert rows["file_mib"].notna().sum() == 1
    assert [line.split()[0] for line in memory_text(rows).splitlines()[2:]] == list(rows["what"])


def test_the_table_says_how_flat_the_passes_are(rows):
    more = pd.concat([rows, rows.head(1).assign(rows=400, peak_mib=2 * rows["peak_mib"].iloc[0])])
    assert memory_table(rows)["pass_peak_largest_over_smallest"]["worst"] == 1.0
    assert memory_table(more)["pass_peak_largest_over_smallest"]["worst"] == pytest.approx(2.0)


def test_the_rows_point_to_few_pictures_under_names_of_their_own(tmp_path):
    write_shard(tmp_path / "a.tar")
    rows = many_rows(tmp_path / "a.tar", 200)
    assert rows["sample_id"].is_unique
    assert rows["image_offset"].nunique() == 64
    assert rows["image_bytes"].isna().all()
