"""The bench: what is drawn, what the ratios are, that cells resume, and one real measurement."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from razor_pipeline.atelier import generate
from razor_pipeline.families.clip import ClipFamily
from razor_pipeline.methods.scoring import scored_parameters
from razor_pipeline.params.data import AtelierParams, SplitCounts, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams
from razor_pipeline.params.peers import SlugParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import AssumedParams, BenchParams, BenchSize
from razor_pipeline.reporting.bench import render_bench
from razor_pipeline.studies import bench
from razor_pipeline.studies.bench import Costs, drawn, ratios
from razor_pipeline.studies.measurement import saved_bytes
from razor_pipeline.studies.scaling import EFFICIENCY, as_lines, at_scale, bench_table

ZOO = Path(__file__).parents[2] / "data" / "01_raw" / "zoo"
TARGET = "Greta Novak"
FEW = BenchSize(
    model=str(ZOO / "clip"),
    classes=6,
    forget=4,
    validation=2,
    reference=4,
    retain=8,
    evaluate=True,
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
    "first_validation_seconds": 3.0,
    "validation_seconds": 2.0,
    "samples": 5,
    "validated": 4,
    "weights": 100,
    "candidate_weights": 50,
    "activation_bytes": 400,
    "batch": 4,
}
FOUND = {
    "edit": {
        "seconds": 30.0,
        "score_seconds": 12.0,
        "edit_seconds": 18.0,
        "evaluations": 5,
        "searched": 3,
        "repairs": 1,
        "peak_bytes": 2000.0,
    },
    "bare": BARE,
    "slug": {"seconds": 60.0, "evaluations": 3},
    "finetune": {"step_seconds": 8.0, "batch": 4},
    "evaluate": {"seconds": 25.0},
}
ASSUMED = AssumedParams(pass_seconds=0.5, hour_price=3.0, devices=(1, 4))


@pytest.fixture(scope="module")
def manifest():
    counts = SplitCounts(edit=4, validation=2, test=1)
    return generate(
        AtelierParams(portraits=counts, canvas=SplitCounts(edit=1, validation=0, test=0)), workers=1
    )


def costs_of(manifest, params):
    return Costs(manifest, SplittingParams(), RazorParams(), params, EvaluationParams(), {})


def test_as_many_samples_are_drawn_as_the_size_says(manifest):
    samples = drawn(manifest, [TARGET], FEW.model_copy(update={"evaluate": False}), SplittingParams())
    counts = samples.groupby(["role", "split"]).size()
    assert counts["forget", "edit"] == 4
    assert counts["forget", "validation"] == 2
    assert counts["reference", "validation"] == 4
    assert counts["retain", "edit"] == 8
    assert counts["retain", "validation"] == 8
    assert "test" not in set(samples["split"])
    assert samples.loc[samples["role"] != "reference", "label"].nunique() == 6
    examined = drawn(manifest, [TARGET], FEW, SplittingParams())
    assert set(examined.loc[examined["split"] == "test", "label"]) >= set(
        samples.loc[samples["role"] != "reference", "label"]
    )
    pd.testing.assert_frame_equal(
        examined[examined["split"] != "test"].reset_index(drop=True), samples
    )  # all else is the same
    whole = drawn(manifest, [TARGET], BenchSize(model="x"), SplittingParams())  # control
    assert whole["domain"].nunique() > 1


def test_the_ratios_are_those_of_what_was_measured():
    row = ratios(FOUND, epochs=10, learnt=50)
    # The first validation reads the images, the others find them decoded.
    assert row["score_edit_over_limit"] == 30.0 / (10.0 + 3.0 + 4 * 2.0)
    assert row["score_edit_over_pass"] == 3.0
    assert (row["score_over_pass"], row["edit_over_pass"]) == (1.2, 1.8)
    assert row["evaluate_over_pass"] == 2.5
    assert row["score_edit_over_slug"] == 0.5
    assert row["search_share"] == 3 * 2.0 / 30.0
    assert row["finetune_over_score_edit"] == 10 * 5 * (8.0 / 4) / 30.0
    assert row["finetune_all_over_score_edit"] == 10 * 50 * (8.0 / 4) / 30.0
    assert row["peak_memory_over_floor"] == 2000.0 / (4 * 150 + 400)
    assert (
        "score_edit_seconds" not in row
    )  # seconds are of a machine; they are kept where it has an accelerator


def test_the_calculation_that_is_printed_gives_the_figure_beside_it():
    rows = pd.DataFrame(
        [{"size": "x", "family": "clip", "axis": "size", "target": "t", **ratios(FOUND, 10, 50)}]
    )
    lines = at_scale(rows, ASSUMED)
    assert len(lines) == 7 * 2
    assert (lines[0].retain, lines[-1].retain) == (1_000, 1_000_000_000)
    for line in lines:
        for figure, said in (
            (line.units, line.units_by),
            (line.gib, line.gib_by),
            (line.seconds, line.seconds_by),
            (line.price, line.price_by),
        ):
            assert figure == pytest.approx(eval(said.replace(" x ", " * ")), rel=0.01, abs=0.01)
    alone = lines[::2]
    # A pass per further retain sample; the inputs of 256 are recorded, however many there are.
    assert alone[1].units - alone[0].units == pytest.approx(9_000)
    printed, page = (
        as_lines(rows, bench_table(rows), ASSUMED),
        render_bench(rows, bench_table(rows), BenchParams(assumed=ASSUMED)),
    )
    for line in lines:
        assert f"{line.units_by};  {line.gib_by};  {line.seconds_by};  {line.price_by}" in printed
        assert line.seconds_by in page
    assert "takes 0.5 s on one device, which costs 3 an hour" in printed
    assert "takes 0.5 s on one device, which costs 3 an hour" in page


def test_the_attacker_counts_where_he_holds_more_than_scoring():
    few = {"size": "x", "family": "clip", "axis": "size", "target": "t", **ratios(FOUND, 10, 50)}
    many = few | {"weights": 1000 * few["weights"] + few["activation_bytes"]}  # no batch weighs as much
    batch, weights = (at_scale(pd.DataFrame([row]), ASSUMED)[0].gib for row in (few, many))
    sample = few["activation_bytes"] / few["batch"]
    assert weights * 2**30 == pytest.approx(4 * 4 * many["weights"] + 16 * sample)
    assert batch * 2**30 == pytest.approx(
        4 * few["weights"] + 2 * 4 * few["candidate_weights"] + 128 * sample
    )  # control


def test_other_families_than_clip_are_not_calculated_with_its_steps():
    both = [
        {"size": family, "family": family, "axis": "size", "target": "t", **ratios(FOUND, 10, 50)}
        for family in ("clip", "vit")
    ]
    rows = pd.DataFrame(both)
    assert {line.size for line in at_scale(rows, ASSUMED)} == {"clip"}
    alone = rows[rows["family"] == "vit"]
    assert "At scale" not in as_lines(alone, bench_table(alone), ASSUMED)
    page = render_bench(alone, bench_table(alone), BenchParams(assumed=ASSUMED))
    assert "At scale" not in page
    assert page.rstrip().endswith("</html>")


def test_a_published_size_is_of_its_own_family():
    sizes = {name: BenchSize(model=name) for name in ("clip_b32", "vit_b16", "sd15", "llava")}
    found = {name: bench._family(size) for name, size in sizes.items()}
    assert found["clip_b32"] == "clip"
    assert len(set(found.values())) == 4
    assert bench._family(BenchSize(model="data/x", family="vlm")) == "vlm"


def test_devices_share_the_scoring_pass_and_nothing_else():
    rows = pd.DataFrame(
        [{"size": "x", "family": "clip", "axis": "size", "target": "t", **ratios(FOUND, 10, 50)}]
    )
    lines = at_scale(rows, ASSUMED)
    for one, four in zip(lines[::2], lines[1::2], strict=True):
        assert (one.devices, four.devices) == (1, 4)
        assert one.seconds == pytest.approx(one.units * ASSUMED.pass_seconds)
        assert four.price == pytest.approx(4 * four.seconds / 3600 * ASSUMED.hour_price)
        assert one.seconds / four.seconds < 4 * EFFICIENCY  # search and corrective steps are not shared
    small, large = lines[:2], lines[-2:]
    assert large[0].seconds / large[1].seconds == pytest.approx(4 * EFFICIENCY, rel=1e-3)
    assert (
        small[0].seconds / small[1].seconds < 1.3
    )  # control: with few images to keep they are most of a run


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
        costs_of(manifest, params).rows()


def test_every_measurement_has_a_process_of_its_own_and_is_made_once(manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    costs = costs_of(manifest, PARAMS)
    rows = costs.rows()
    assert list(rows["axis"]) == ["size", "retain"]
    row = rows.iloc[0]
    model = ClipFamily.from_pretrained(FEW.model)
    assert row["weights"] == sum(parameter.numel() for parameter in model.module.parameters())
    assert (row["evaluations"], row["repairs"], row["samples"]) == (1 + 2 + 1, 1, 12)
    assert row["score_edit_over_limit"] > 1.0  # an edit makes the bare passes, and more
    assert row["score_over_pass"] + row["edit_over_pass"] == pytest.approx(row["score_edit_over_pass"])
    assert row["score_over_pass"] > 0.5  # its own pass, beside other work
    assert row["evaluate_over_pass"] > 0.0
    assert row["peak_bytes"] > 4 * row["weights"]
    assert torch.cuda.is_available() or "device_peak_bytes" not in rows

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(bench, "in_own_process", never)
    pd.testing.assert_frame_equal(costs.rows(), rows)
    otherwise = PARAMS.model_copy(update={"assumed": ASSUMED})  # what is assumed measures nothing again
    pd.testing.assert_frame_equal(costs_of(manifest, otherwise).rows(), rows)
    grown = costs_of(manifest, PARAMS.model_copy(update={"growth": {"retain": (6,)}}))
    with pytest.raises(AssertionError, match="measured again"):  # control: another value is another cell
        grown.rows()
    monkeypatch.setattr(bench, "content_sha256", lambda path: f"other weights in {path}")
    with pytest.raises(AssertionError, match="measured again"):  # and so are other weights in the same place
        costs.rows()
    page = render_bench(rows, bench_table(rows), PARAMS)
    assert "clip_few" in page
    assert "<script" not in page
