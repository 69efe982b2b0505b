"""The cells of a study as nested runs, in a real MLflow store."""

import pandas as pd
from kedro.io import DataCatalog

from razor_pipeline.tracking.datasets import DatasetLog
from razor_pipeline.tracking.store import FAILURE, open_store


def test_every_cell_is_a_nested_run_and_one_that_failed_says_why(tmp_path):
    client, experiment = open_store(f"sqlite:///{tmp_path / 'mlflow.db'}", "toy", tmp_path)
    parent = client.create_run(experiment).info.run_id
    catalog = DataCatalog.from_config(
        {
            "cells": {
                "type": "razor_pipeline.datasets.files.ParquetDataset",
                "filepath": str(tmp_path / "cells.parquet"),
                "metadata": {"mlflow": {"runs": ["variant", "seed"]}},
            }
        }
    )
    rows = [
        {"variant": "razor", "seed": 0, "gap": 0.1, "failed": None},
        {"variant": "ga", "seed": 1, "gap": None, "failed": "ValueError: it diverged"},
    ]
    catalog.save("cells", pd.DataFrame(rows))
    DatasetLog(client, parent, catalog, tmp_path, 1.0).write(["cells"], {"cells"})
    nested = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    found = {run.info.run_name: run for run in nested}
    assert set(found) == {"razor, 0", "ga, 1"}
    assert found["razor, 0"].data.metrics == {"gap": 0.1}
    assert found["razor, 0"].data.params == {"variant": "razor", "seed": "0"}
    assert found["razor, 0"].info.status == "FINISHED"
    assert found["ga, 1"].info.status == "FAILED"
    assert found["ga, 1"].data.tags[FAILURE] == "ValueError: it diverged"
