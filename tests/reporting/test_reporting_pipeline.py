"""The pipeline as Kedro runs it, on files; and the page of a real, tiny model's real figures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from razor_pipeline.core.components import ParameterSlice
from razor_pipeline.core.weight_edit import WeightEdit
from razor_pipeline.datasets.files import BytesDataset, JSONDataset, ParquetDataset, TextDataset
from razor_pipeline.families.clip_pretraining import new_clip
from razor_pipeline.families.examination import examine
from razor_pipeline.fingerprint import _source
from razor_pipeline.hooks import ClosingTableHooks
from razor_pipeline.params.evaluation import EvaluationParams, ReportingParams
from razor_pipeline.params.pretraining import PretrainingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.pipelines.reporting import create_pipeline
from razor_pipeline.reporting.page import render_report
from razor_pipeline.reporting.record import RunRecord
from razor_pipeline.reporting.verdict import Kind, judge

from .outputs import run_record, samples


def weight_edit() -> WeightEdit:
    part = ParameterSlice("visual_projection.weight")
    return WeightEdit(
        (part,),
        {part.key: torch.zeros(8, 4)},
        {part.key: torch.ones(8, 4)},
        ("vision.projection",),
        run_record().manifest,
    )


@pytest.fixture
def catalog(tmp_path: Path) -> DataCatalog:
    run = run_record()
    frames = {
        "metrics": run.metrics,
        "component_scores": run.component_scores,
        "edit_trace": run.edit_trace,
        "predictions": run.predictions,
        "samples": run.samples,
        "quantization_report": run.quantization,
    }
    held: dict[str, Any] = {
        name: ParquetDataset(filepath=str(tmp_path / f"{name}.parquet")) for name in frames
    }
    for name, frame in frames.items():
        held[name].save(frame)
    held["edit_report"] = JSONDataset(filepath=str(tmp_path / "edit_report.json"))
    held["edit_report"].save(run.edit_report)
    held["weight_edit"] = MemoryDataset(weight_edit(), copy_mode="assign")
    held["summary"] = JSONDataset(filepath=str(tmp_path / "summary.json"))
    held["report"] = TextDataset(filepath=str(tmp_path / "report.html"))
    for name in ("score_heatmap", "search_curve", "panel"):
        held[name] = BytesDataset(filepath=str(tmp_path / f"{name}.png"))
    parameters = {"scenario": "base", "seed": 0, "razor": RazorParams(), "reporting": ReportingParams()}
    for name, value in parameters.items():
        held[f"params:{name}"] = MemoryDataset(value)
    held["parameters"] = MemoryDataset({"seed": 0, "target": "Ada Moreau"})
    return DataCatalog(held)


def test_it_writes_figures_summary_and_page(catalog: DataCatalog, tmp_path: Path) -> None:
    SequentialRunner().run(create_pipeline(), catalog)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["verdict"] == "forgotten"
    assert summary["delta_mb"] == 2 * 8 * 4 * 4 / 1e6
    assert "<h1" in (tmp_path / "report.html").read_text()
    for name in ("score_heatmap", "search_curve", "panel"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_writes_the_same_bytes(catalog: DataCatalog, tmp_path: Path) -> None:
    outputs = [tmp_path / name for name in ("summary.json", "report.html", "panel.png", "score_heatmap.png")]
    SequentialRunner().run(create_pipeline(), catalog)
    first = [path.read_bytes() for path in outputs]
    SequentialRunner().run(create_pipeline(), catalog)
    assert [path.read_bytes() for path in outputs] == first


def test_the_hook_prints_the_closing_table(catalog: DataCatalog, capsys: pytest.CaptureFixture[str]) -> None:
    SequentialRunner().run(create_pipeline(), catalog)
    capsys.readouterr()
    ClosingTableHooks().after_pipeline_run(create_pipeline(), catalog)
    printed = capsys.readouterr().out
    assert "Forgotten: Ada Moreau" in printed
    assert "report.html" in printed


def test_the_hook_keeps_quiet_where_nothing_was_summarised(
    catalog: DataCatalog, capsys: pytest.CaptureFixture[str]
) -> None:
    ClosingTableHooks().after_pipeline_run(create_pipeline().only_nodes("draw_figures"), catalog)
    assert capsys.readouterr().out == ""


def test_real_figures_of_an_untrained_model_make_a_page_and_no_claim() -> None:
    """What the examination really returns fits the report; an untrained model has nothing to forget."""
    torch.set_num_threads(1)
    rows = samples()
    family = new_clip(
        sorted(set(rows["caption"])),
        PretrainingParams(clip={"width": 32, "vision_layers": 1, "text_layers": 1}),
    )
    name = "visual_projection.weight"
    part, before = ParameterSlice(name), dict(family.module.named_parameters())[name].detach().clone()
    edit = WeightEdit(
        (part,), {name: before}, {name: before * 1.5}, ("vision.projection",), {"method": "razor"}
    )
    metrics, predictions = examine(family, edit, {}, rows, {}, EvaluationParams())
    made_up = run_record()
    run = RunRecord.of(
        edit,
        metrics=metrics,
        predictions=predictions,
        samples=rows,
        component_scores=made_up.component_scores,
        edit_trace=made_up.edit_trace,
        edit_report=made_up.edit_report,
        quantization=pd.DataFrame(),
        scenario="base",
        seed=0,
    )
    verdict = judge(run, ReportingParams())
    assert np.isfinite(metrics["value"]).all()
    assert verdict.kind in (Kind.NO_BASELINE, Kind.NOT_FORGOTTEN)
    assert "Ada Moreau" in render_report(run, verdict, RazorParams())


def test_a_changed_template_counts_as_changed_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a resumed run would keep a page that the new template would have drawn differently."""
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for module, template in (("page_one", "old"), ("page_two", "old"), ("page_three", "new")):
        folder = tmp_path / module
        folder.mkdir()
        (folder / "__init__.py").write_text("x = 1\n")
        (folder / "page.html.j2").write_text(template)
        hashes.append(_source(module)[0])
    assert hashes[0] == hashes[1] != hashes[2]
