"""The notebook runs from its first cell to its last on a run's files and its MLflow record."""

import shutil
from pathlib import Path

import mlflow
import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from razor_pipeline.datasets.files import BytesDataset, JSONDataset, ParquetDataset
from razor_pipeline.params.evaluation import ReportingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.pipelines.reporting.nodes import draw_figures
from razor_pipeline.reporting.summary import flat_summary
from razor_pipeline.reporting.verdict import judge

from .outputs import run_record

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "one_run.ipynb"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder as a run leaves it, but for everything that is not data/07, data/08 or MLflow."""
    root = tmp_path_factory.mktemp("project")
    output, reporting = root / "data" / "07_model_output", root / "data" / "08_reporting"
    run = run_record()
    frames = {"metrics": run.metrics, "edit_trace": run.edit_trace, "predictions": run.predictions}
    for name, frame in (frames | {"quantization": run.quantization}).items():
        ParquetDataset(filepath=str(output / f"{name}.parquet")).save(frame)
    JSONDataset(filepath=str(output / "edit_report.json")).save(run.edit_report)
    summary = flat_summary(run, judge(run, ReportingParams()))
    JSONDataset(filepath=str(reporting / "summary.json")).save(summary)
    frames_of_figures = (run.component_scores, run.edit_trace, run.edit_report, run.predictions, run.samples)
    figures = draw_figures(*frames_of_figures, RazorParams())
    for name, figure in zip(("component_scores", "step_search", "panel"), figures, strict=True):
        BytesDataset(filepath=str(reporting / f"{name}.png")).save(figure)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    tracked = client.create_run(
        client.create_experiment("razor"), tags={"target": "Ada Moreau", "method": "razor"}
    )
    client.log_metric(tracked.info.run_id, "edited_forget_accuracy", summary["edited_forget_accuracy"])
    client.set_terminated(tracked.info.run_id)
    (root / "notebooks").mkdir()
    shutil.copy(NOTEBOOK, root / "notebooks")
    return root


def execute(project: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(project / "notebooks")}}
    )
    return client.execute()


def text(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(str(cell.get("outputs", "")) for cell in notebook.cells)


def test_it_runs_to_the_end_and_shows_verdict_figures_and_tracked_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = execute(project, monkeypatch)
    shown = text(done)
    assert "**Ada Moreau**" in shown
    assert shown.count("image/png") == 3
    assert "FINISHED" in shown
    assert all(cell.get("execution_count") for cell in done.cells if cell.cell_type == "code")


def test_it_reads_the_run_it_is_given(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: without a run's files the notebook fails, so its success above means that it read them."""
    shutil.copytree(project, tmp_path / "copy")
    (tmp_path / "copy" / "data" / "07_model_output" / "metrics.parquet").unlink()
    with pytest.raises(CellExecutionError, match=r"metrics\.parquet"):
        execute(tmp_path / "copy", monkeypatch)


def test_it_is_committed_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
