"""Files that change without a parameter changing are read again; the generated data are not made again."""

from __future__ import annotations

from kedro.io import DataCatalog, MemoryDataset

from razor_pipeline.params.data import DataParams
from razor_pipeline.runner import content


def twice(params):
    catalog = DataCatalog({"params:data": MemoryDataset(params)})
    return content(catalog, "params:data"), content(catalog, "params:data")


def test_a_folder_is_never_taken_for_unchanged():
    first, again = twice(DataParams(source="folder", path="images"))
    assert first != again


def test_control_the_atelier_is():
    first, again = twice(DataParams())
    assert first == again
