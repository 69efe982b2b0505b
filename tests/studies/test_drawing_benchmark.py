"""`make benchmark` of a model that draws, at smoke size: cells, failures, resuming, leaderboard and page."""

import pandas as pd
import pytest
from families.cases import tiny_pipeline

from razor_pipeline.atelier import generate
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.vit_pretraining import new_vit
from razor_pipeline.params.data import AtelierParams, SplitCounts, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.peers import EsdParams, UceParams
from razor_pipeline.params.pretraining import PretrainingParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import BenchmarkParams
from razor_pipeline.pipelines.benchmark.nodes import compare_methods
from razor_pipeline.reporting.leaderboard import render_leaderboard
from razor_pipeline.studies.drawing import Drawing
from razor_pipeline.studies.leaderboard import leaderboard

RAZOR = RazorParams.model_validate(
    {
        "scoring": {"retain_samples": 16},
        "components": 6,
        "max_edited_share": 1.0,
        "search": {"measure": "forget_accuracy", "goal": 0.0},
        "repair": {"steps": 1, "evaluations": 12},
    }
)
BENCHMARK = BenchmarkParams(
    targets=("cat",),
    seeds=(0,),
    schemes=(),
    relearning=None,
    methods=("razor", "uce", "esd"),
    peers={
        "uce": UceParams(erase_scales=(100.0,)),
        "esd": EsdParams(anchor="horse"),
    },  # kept by nobody: it fails
)


@pytest.fixture(scope="module")
def canvas():
    none, counts = SplitCounts(edit=0, validation=0, test=0), SplitCounts(edit=3, validation=1, test=1)
    rows = generate(AtelierParams(image_size=32, portraits=none, canvas=counts), workers=1)
    styles = sorted(rows["style"].unique())[:4]
    return rows[rows["label"].isin(["cat", "dog", "fish", "tree"]) & rows["style"].isin(styles)]


@pytest.fixture(scope="module")
def run(canvas, tmp_path_factory):
    """The node, run in a folder of its own as often as asked for, and how many cells it computed."""
    base = DiffusionFamily(tiny_pipeline())
    params = PretrainingParams(image_size=32, vit={"width": 16, "heads": 2, "layers": 1})
    judges = {name: new_vit(sorted(canvas[name].unique()), params) for name in ("label", "style")}
    evaluation = EvaluationParams(drawing={"protocol": "subset", "seeds": (188,), "steps": 1})
    place = tmp_path_factory.mktemp("benchmark")

    def once(monkeypatch):
        computed, erase = [], Drawing.erase

        def counted(self, samples, method, seed):
            computed.append(type(method).__name__)
            return erase(self, samples, method, seed)

        monkeypatch.chdir(place)
        monkeypatch.setattr(Drawing, "erase", counted)
        out = compare_methods(base, canvas, [], judges, SplittingParams(), RAZOR, evaluation, BENCHMARK)
        return *out, computed

    return once


def test_a_benchmark_of_drawings_from_cells_to_page(run, monkeypatch):
    rows, table, page, computed = run(monkeypatch)
    assert list(rows["variant"]) == ["razor", "uce", "esd"]
    assert computed == ["RazorParams", "UceParams", "EsdParams"]
    assert rows.loc[2, "failed"].startswith("AnchorError: anchor 'horse' is none of the concepts")
    done = rows.loc[:1]
    assert (done["ua_drawings"] == 4).all()  # the target in four styles
    assert (done["kept_drawings"] == 6).all()  # two styles of each other object
    assert (done["peak_rss_mb"] > 100.0).all()
    assert (done["mean_ua_ira_cra"] - done[["ua", "ira", "cra"]].mean(axis=1)).abs().max() < 1e-12
    assert set(table["method"]) == {"razor", "uce", "esd"}
    assert table.loc[table["method"] == "esd", "rank"].iloc[0] == 3
    assert {"ua", "ira", "cra", "edited_fraction", "seconds", "peak_rss_mb"} <= set(table["figure"].dropna())
    assert "and so no gap to retraining" in page
    assert "1 failed" in page
    assert "UnlearnCanvas" in page

    again, *_, computed = run(monkeypatch)
    assert computed == ["EsdParams"]  # what is done is read; what failed is tried again
    pd.testing.assert_frame_equal(again, rows)


def test_methods_that_draw_rank_by_the_mean_of_ua_ira_and_cra():
    rows = pd.DataFrame(
        {
            "variant": ["worse", "better"],
            "mean_ua_ira_cra": [0.5, 0.9],
            "ua": [1.0, 0.8],
            "score_seconds": 0.0,
            "edit_seconds": 1.0,
        }
    )
    assert list(leaderboard(rows).drop_duplicates("rank")["method"]) == ["better", "worse"]
    page = render_leaderboard(leaderboard(rows.assign(target="cat", seed=0)), "diffusion")
    assert "mean of UA, IRA and CRA, as two judges see the drawings: no model trained without" in page


def test_where_there_is_a_gap_to_retraining_it_decides_also_for_models_that_draw():
    rows = pd.DataFrame(
        {
            "variant": ["worse", "better"],
            "target": "cat",
            "seed": 0,
            "mean_ua_ira_cra": [0.9, 0.5],
            "ua": [1.0, 0.8],
            "gap_to_retraining": [0.2, 0.1],
            "retrained_ua": 0.75,
        }
    )
    table = leaderboard(rows)
    assert list(table.drop_duplicates("method")["method"]) == ["retrain", "better", "worse"]
    reference = table[(table["method"] == "retrain") & (table["figure"] == "ua")]
    assert list(reference["mean"]) == [0.75]
    page = render_leaderboard(table, "diffusion")
    assert "Ranked by the gap to retraining" in page
    assert "UnlearnCanvas" in page
    assert "no model trained without" not in page
