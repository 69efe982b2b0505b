"""The bench: what is drawn, what the ratios are, that cells resume, and one real measurement."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from razor_pipeline.atelier import generate
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.methods.scoring import scored_parameters
from razor_pipeline.params.data import AtelierParams, SplitCounts, SplittingParams
from razor_pipeline.params.peers import SlugParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import BenchParams, BenchSize
from razor_pipeline.reporting.bench import render_bench
from razor_pipeline.studies import bench
from razor_pipeline.studies.bench import Costs, drawn, ratios
from razor_pipeline.studies.measurement import saved_bytes
from razor_pipeline.studies.scaling import as_lines, at_scale, bench_table

ZOO = Path(__file__).parents[2] / "data" / "01_raw" / "zoo"
TARGET = "Greta Novak"
FEW = BenchSize(
    model=str(ZOO / "clip"),
    classes=6,
    forget=4,
    validation=2,
    reference=4,
    retain=8,
    razor={
        "search": {"evaluations": 2},
        "repair": {"steps": 1, "samples": 8},
        "max_rounds": 1,
        "scoring": {"batch_size": 8},
    },
)
PARAMS = BenchParams(
    targets=(TARGET,),
    sizes={"clip_few": FEW},
    growth={"retain": (4,)},
    slug=SlugParams(layers=1, evaluations=2),
)
BARE = {
    "seconds": 10.0,
    "validation_seconds": 2.0,
    "samples": 5,
    "validated": 4,
    "weights": 100,
    "candidate_weights": 50,
    "activation_bytes": 400,
    "batch": 4,
}
FOUND = {
    "edit": {"seconds": 30.0, "evaluations": 5, "searched": 3, "repairs": 1, "peak_bytes": 2000.0},
    "bare": BARE,
    "slug": {"seconds": 60.0, "evaluations": 3},
    "finetune": {"step_seconds": 8.0, "batch": 4},
}


@pytest.fixture(scope="module")
def manifest():
    counts = SplitCounts(edit=4, validation=2, test=1)
    return generate(
        AtelierParams(portraits=counts, canvas=SplitCounts(edit=1, validation=0, test=0)), workers=1
    )


def test_as_many_samples_are_drawn_as_the_size_says(manifest):
    samples = drawn(manifest, [TARGET], FEW, SplittingParams())
    counts = samples.groupby(["role", "split"]).size()
    assert counts["forget", "edit"] == 4
    assert counts["forget", "validation"] == 2
    assert counts["reference", "validation"] == 4
    assert counts["retain", "edit"] == 8
    assert counts["retain", "validation"] == 8
    assert "test" not in set(samples["split"])
    assert samples.loc[samples["role"] != "reference", "label"].nunique() == 6
    whole = drawn(manifest, [TARGET], BenchSize(model="x"), SplittingParams())  # control
    assert whole["domain"].nunique() > 1


def test_the_ratios_are_those_of_what_was_measured():
    row = ratios(FOUND, epochs=10, learnt=50)
    assert row["score_edit_over_limit"] == 30.0 / (10.0 + 5 * 2.0)
    assert row["score_edit_over_pass"] == 3.0
    assert row["score_edit_over_slug"] == 0.5
    assert row["search_share"] == 3 * 2.0 / 30.0
    assert row["finetune_over_score_edit"] == 10 * 5 * (8.0 / 4) / 30.0
    assert row["finetune_all_over_score_edit"] == 10 * 50 * (8.0 / 4) / 30.0
    assert row["peak_memory_over_floor"] == 2000.0 / (4 * 150 + 400)
    assert (
        "score_edit_seconds" not in row
    )  # seconds are of a machine; they are kept where it has an accelerator


def test_the_calculation_that_is_printed_gives_the_figure_beside_it():
    rows = pd.DataFrame([{"size": "x", "axis": "size", "target": "t", **ratios(FOUND, 10, 50)}])
    lines = at_scale(rows)
    assert [line.retain for line in lines] == [1_000, 10_000, 100_000]
    for line in lines:
        said = eval(line.units_by.replace(" x ", " * "))
        assert line.units == pytest.approx(said, rel=0.01)
    forward = BARE["validation_seconds"] / BARE["validated"] / (BARE["seconds"] / BARE["samples"])
    # A pass per further retain sample, and a forward pass to record its inputs.
    assert lines[1].units - lines[0].units == pytest.approx(9_000 * (1.0 + forward))
    assert lines[0].units_by in as_lines(rows, bench_table(rows))


def test_what_a_batch_keeps_is_counted_once_and_weights_are_not(manifest):
    model = ClipFamily.from_pretrained(FEW.model)
    rows = manifest.head(8)
    [batch], [half] = model.batches(rows, len(rows)), model.batches(rows.head(len(rows) // 2), len(rows))
    leaves = scored_parameters(model, RazorParams().scoring)
    whole = saved_bytes(model, batch, leaves)
    assert whole == pytest.approx(2 * saved_bytes(model, half, leaves), rel=0.1)
    last = {name: leaves[name] for name in list(leaves)[-1:]}
    assert saved_bytes(model, batch, last) < whole / 2  # control: below the last layer nothing is kept
    assert not any(leaf.requires_grad for leaf in leaves.values())


def test_an_unknown_size_is_refused_before_anything_is_measured(manifest):
    params = PARAMS.model_copy(update={"only": "clip_zo"})
    with pytest.raises(ValueError, match=r"only names 'clip_zo', .* choose among clip_few, retain"):
        Costs(manifest, SplittingParams(), RazorParams(), params).rows()


def test_every_measurement_has_a_process_of_its_own_and_is_made_once(manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    costs = Costs(manifest, SplittingParams(), RazorParams(), PARAMS)
    rows = costs.rows()
    assert list(rows["axis"]) == ["size", "retain"]
    row = rows.iloc[0]
    model = ClipFamily.from_pretrained(FEW.model)
    assert row["weights"] == sum(parameter.numel() for parameter in model.module.parameters())
    assert (row["evaluations"], row["repairs"], row["samples"]) == (1 + 2 + 1, 1, 12)
    assert row["score_edit_over_limit"] > 1.0  # an edit makes the bare passes, and more
    assert row["peak_bytes"] > 4 * row["weights"]
    assert torch.cuda.is_available() or "device_peak_bytes" not in rows

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(bench, "in_own_process", never)
    pd.testing.assert_frame_equal(costs.rows(), rows)
    grown = Costs(
        manifest, SplittingParams(), RazorParams(), PARAMS.model_copy(update={"growth": {"retain": (6,)}})
    )
    with pytest.raises(AssertionError, match="measured again"):  # control: another value is another cell
        grown.rows()
    page = render_bench(rows, bench_table(rows))
    assert "clip_few" in page
    assert "<script" not in page
