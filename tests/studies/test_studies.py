"""Studies: resumable cells, tables, and variants of the parameters."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from razor_pipeline import fingerprint
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.datasets.retrained import whole
from razor_pipeline.params.data import SplittingParams
from razor_pipeline.params.peers import SsdParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.studies import AblationParams, BenchmarkParams
from razor_pipeline.pipelines.benchmark.nodes import under_one_rule
from razor_pipeline.splitting import SplittingError
from razor_pipeline.studies.cells import Cell, run_cells
from razor_pipeline.studies.leaderboard import leaderboard
from razor_pipeline.studies.run import Study, variants_of
from razor_pipeline.studies.tables import as_text, side_by_side, summarise

ROOT = Path(__file__).parents[2]


def test_a_cell_that_is_done_is_not_run_again_and_one_that_failed_is(tmp_path):
    ran = []

    def cell(name, fails=False):
        def run():
            ran.append(name)
            if fails:
                raise RuntimeError(name)
            return {"name": name}

        return Cell(name, name, run)

    with pytest.raises(RuntimeError):
        run_cells([cell("a"), cell("b", fails=True)], tmp_path, "study", {"code": 1})
    rows = run_cells([cell("a"), cell("b")], tmp_path, "study", {"code": 1})
    assert rows == [{"name": "a"}, {"name": "b"}]
    assert ran == ["a", "b", "b"]
    run_cells([cell("a")], tmp_path, "study", {"code": 2})  # control: other code, another result
    assert ran[-1] == "a"
    assert len(ran) == 4


def test_a_table_says_mean_worst_interval_and_count():
    rows = pd.DataFrame(
        {
            "retain_drop": [0.0, 0.01, 0.02],
            "relearn_steps": [4, 8, 6],
            "near_twin_drop": [0.0, None, None],
            "int8_membership_auc": [0.2, 0.5, 0.6],
        }
    )
    table = summarise(rows, [*rows.columns, "absent"])
    assert table["retain_drop"]["mean"] == pytest.approx(0.01)
    assert table["retain_drop"]["worst"] == 0.02
    assert table["relearn_steps"]["worst"] == 4  # more steps are better
    assert table["int8_membership_auc"]["worst"] == 0.2  # either side of chance leaks
    assert table["near_twin_drop"]["n"] == 1
    assert "absent" not in table
    assert table["retain_drop"]["low"] <= 0.01 <= table["retain_drop"]["high"]
    assert "retain_drop" in as_text("title", table)
    assert "full" in side_by_side("title", {"full": table})


@pytest.mark.parametrize(
    ("figure", "worst"),
    [
        ("ira", 0.2),
        ("base_ira", 0.2),
        ("retrained_ira", 0.2),
        ("retrained_relearn_steps", 0.2),
        ("finetune_over_score_edit", 0.2),
        ("finetune_all_over_score_edit", 0.2),
        ("score_edit_over_limit", 0.9),
        ("retrained_auc", 0.9),
    ],
)
def test_the_worst_is_the_least_flattering(figure, worst):
    assert summarise(pd.DataFrame({figure: [0.2, 0.9]}), [figure])[figure]["worst"] == worst


def test_a_variant_changes_what_it_names_and_nothing_else():
    params = AblationParams(variants={"heads": {"scoring": {"granularity": "head"}}})
    variants = variants_of(RazorParams(), params)
    assert variants["full"] == RazorParams()
    assert variants["heads"].scoring.granularity == "head"
    assert variants["heads"].model_copy(update={"scoring": RazorParams().scoring}) == RazorParams()


def test_every_variant_of_the_ablation_is_another_one_and_one_leaves_misspelt_names_out():
    conf = Path(__file__).parents[2] / "conf" / "base"
    razor = RazorParams.model_validate(
        yaml.safe_load((conf / "parameters.yml").read_text()).get("razor") or {}
    )
    ablation = yaml.safe_load((conf / "parameters_studies.yml").read_text())["ablation"]
    variants = variants_of(razor, AblationParams.model_validate(ablation))
    full = variants.pop("full")
    assert all(variant != full for variant in variants.values())
    assert full.repair.slips > 0
    assert variants["no_slips"].repair == full.repair.model_copy(update={"slips": 0})


def test_a_misspelt_variant_is_refused():
    with pytest.raises(ValueError, match="did you mean"):
        variants_of(RazorParams(), AblationParams(variants={"x": {"scoring": {"granularty": "head"}}}))


class Counted:
    """A subject that notes what it is asked for."""

    def __init__(self):
        self.ran = []

    def identity(self):
        return "model"

    def erase(self, samples, method, seed):
        self.ran.append((samples["label"].iloc[0], type(method).__name__, seed))
        return {"value": 1.0}


@pytest.fixture
def manifest():
    rows = [("a", "edit")] * 4 + [("b", "edit")] * 4 + [(x, s) for x in "ab" for s in ("validation", "test")]
    return pd.DataFrame(rows, columns=["label", "split"]).assign(
        sample_id=lambda t: t.index.astype(str),
        domain="d",
        role="retain",
        prompt="p",
        sha256=lambda t: t.index.astype(str),
    )


def test_a_cell_is_the_same_whatever_else_is_studied(tmp_path, monkeypatch, manifest):
    """Adding a target or a method to a study repeats none of its finished cells."""
    monkeypatch.chdir(tmp_path)
    subject = Counted()
    few = BenchmarkParams(targets=("a",), seeds=(0,), methods=("razor",))
    more = BenchmarkParams(targets=("a", "b"), seeds=(0,), methods=("razor", "ssd"))
    for params in (few, more):
        Study("study", subject, manifest, SplittingParams(), params).run({"razor": RazorParams()})
    assert len(subject.ran) == 2  # a once, b once
    other = more.model_copy(update={"schemes": ("int4",)})
    Study("study", subject, manifest, SplittingParams(), other).run({"razor": RazorParams()})
    assert len(subject.ran) == 4  # control: what decides a cell's row does count


@pytest.mark.parametrize(
    ("targets", "said"), [(("a", "bb"), "target 'bb' is not in the data"), ((), "study.targets is empty")]
)
def test_targets_are_looked_up_before_the_first_cell(tmp_path, monkeypatch, manifest, targets, said):
    monkeypatch.chdir(tmp_path)
    subject = Counted()
    with pytest.raises(SplittingError, match=said):
        Study("study", subject, manifest, SplittingParams(), BenchmarkParams(targets=targets)).run(
            {"razor": RazorParams()}
        )
    assert subject.ran == []


def test_a_target_is_its_label_however_it_was_typed(tmp_path, monkeypatch, manifest):
    monkeypatch.chdir(tmp_path)
    study = Study(
        "study", Counted(), manifest, SplittingParams(), BenchmarkParams(targets=("A",), seeds=(0,))
    )
    assert study.run({"razor": RazorParams()})["target"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("column", "again"), [("label", 1), ("caption", 1), ("split", 1), ("role", 1), ("image_path", 0)]
)
def test_a_cell_is_computed_again_where_the_data_says_otherwise(
    tmp_path, monkeypatch, manifest, column, again
):
    monkeypatch.chdir(tmp_path)
    manifest = manifest.assign(caption="c", image_path="p")
    subject, params = Counted(), BenchmarkParams(targets=("a",), seeds=(0,))
    new = {"label": "a", "split": "validation", "role": "reference"}.get(column, "other")
    other = manifest.copy()
    other.loc[4, column] = new  # the first of four images of b to edit with
    for rows in (manifest, manifest.sample(frac=1.0, random_state=0), other):
        Study("study", subject, rows, SplittingParams(), params).run({"razor": RazorParams()})
    assert len(subject.ran) == 1 + again


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("razor_pipeline.methods.repair", ["RazorParams"]),
        ("razor_pipeline.methods.ssd", ["SsdParams"]),
        ("razor_pipeline.methods.validation", ["RazorParams", "SsdParams"]),
        ("razor_pipeline.studies.cells", ["RazorParams", "SsdParams"]),
        ("razor_pipeline.splitting", ["RazorParams", "SsdParams"]),
        ("razor_pipeline.methods.uce", []),
    ],
)
def test_a_method_that_changed_repeats_its_own_cells_alone(tmp_path, monkeypatch, manifest, changed, again):
    monkeypatch.chdir(tmp_path)
    subject = Counted()
    monkeypatch.setattr(Counted, "__module__", "razor_pipeline.studies.recognition")  # whose imports count
    params = BenchmarkParams(targets=("a",), seeds=(0,))
    study = Study("study", subject, manifest, SplittingParams(), params)
    study.run({"razor": RazorParams(), "ssd": SsdParams()})
    subject.ran.clear()
    source = fingerprint._source
    monkeypatch.setattr(
        fingerprint, "_source", lambda name: ("other", source(name)[1]) if name == changed else source(name)
    )
    study.run({"razor": RazorParams(), "ssd": SsdParams()})
    assert [method for _, method, _ in subject.ran] == again


def test_seeds_of_a_target_are_no_other_targets():
    """Ten runs of the same two targets bound the mean no closer than two do; control: rows that say no target."""
    two = pd.DataFrame({"target": ["a", "b"], "gap": [0.0, 0.2]})
    ten = pd.concat([two] * 5, ignore_index=True)
    once, often = summarise(two, ["gap"])["gap"], summarise(ten, ["gap"])["gap"]
    assert (once["low"], once["high"]) == (often["low"], often["high"])
    assert (once["n"], often["n"]) == (2, 10)
    indexed = summarise(ten.assign(seed=range(10)).set_index(["target", "seed"]), ["gap"])["gap"]
    assert indexed == often
    unnamed = summarise(ten.drop(columns="target"), ["gap"])["gap"]
    assert unnamed["high"] - unnamed["low"] < often["high"] - often["low"]


def test_a_method_that_failed_on_the_hard_target_does_not_rank_before_one_that_did_not():
    rows = pd.DataFrame(
        [
            {"variant": "ga", "target": "easy", "seed": 0, "gap_to_retraining": 0.08},
            {"variant": "ga", "target": "hard", "seed": 0, "failed": "ValueError: no"},
            {"variant": "razor", "target": "easy", "seed": 0, "gap_to_retraining": 0.05},
            {"variant": "razor", "target": "hard", "seed": 0, "gap_to_retraining": 0.20},
        ]
    )
    assert list(leaderboard(rows)["method"].unique()) == ["razor", "ga"]
    complete = rows.assign(failed=None, gap_to_retraining=rows["gap_to_retraining"].fillna(0.08))
    assert list(leaderboard(complete)["method"].unique()) == ["ga", "razor"]  # control


def test_peers_choose_by_razors_limits_where_they_have_none_of_their_own():
    razor = RazorParams(max_retain_drop=0.05, auc_tolerance=None)
    told = under_one_rule(SsdParams(max_retain_drop=0.02), razor)
    assert (told.max_retain_drop, told.auc_tolerance) == (0.02, None)
    assert told == SsdParams(max_retain_drop=0.02, auc_tolerance=None)


def test_what_lies_beside_the_weights_decides_figures_as_well(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(ROOT / "data/01_raw/zoo/clip", model)
    before = whole(PretrainedDataset(family="clip", source=str(model)).load())
    assert whole(PretrainedDataset(family="clip", source=str(model)).load()) == before  # control
    path = model / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.0, 0.0, 0.0]}))
    assert whole(PretrainedDataset(family="clip", source=str(model)).load()) != before
