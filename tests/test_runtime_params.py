"""What `kedro run --params` says, through the real command on the real project's configuration."""

import json
import re
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from kedro.framework.cli.utils import _split_params
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from razor_pipeline import cli
from razor_pipeline.cli import Refusing
from razor_pipeline.core.gradients import NonFiniteError
from razor_pipeline.runtime_params import CATALOG_KEYS, with_model_named, with_targets_as_texts
from razor_pipeline.splitting import SplittingError, parse_targets

ROOT = Path(__file__).parents[1]


@pytest.fixture
def kedro_run(tmp_path, monkeypatch):
    """Runs `kedro run` with this project's configuration in a folder with nothing else but the zoo."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "data/01_raw").mkdir(parents=True)
    (tmp_path / "data/01_raw/zoo").symlink_to(ROOT / "data/01_raw/zoo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # which MLflow sets, and which is put back behind the test
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    def run(*arguments):
        bootstrap_project(ROOT)
        return CliRunner().invoke(cli.cli, ["run", *arguments])

    return run


def reading(text):
    option = click.Option(["--params"])
    return with_targets_as_texts(_split_params)(click.Context(click.Command("run")), option, text)


def test_what_is_said_twice_counts_both_times(kedro_run):
    assert reading(("target=Ada Moreau", "seed=3")) == {"target": "Ada Moreau", "seed": 3}
    result = kedro_run("--params", "target=Adda Moreau", "--params", "device=cpu")
    assert "Adda Moreau" in result.output


def test_a_target_that_no_step_reads_is_refused(kedro_run):
    refused = kedro_run("--from-nodes", "split_samples", "--params", "target=Bruno Keller")
    assert "no step that this command names reads it" in " ".join(refused.output.split())
    read = kedro_run("--to-nodes", "check_request", "--params", "target=Adda Moreau")  # control
    assert "did you mean Ada Moreau" in " ".join(read.output.split())


def test_a_run_starts_in_the_projects_folder(kedro_run, tmp_path, monkeypatch):
    metadata = bootstrap_project(ROOT)._replace(project_path=tmp_path)
    arguments = ["run", "--params", "target=Adda Moreau"]
    (tmp_path / "docs").mkdir()
    assert "run this from" not in CliRunner().invoke(cli.cli, arguments, obj=metadata).output  # control
    monkeypatch.chdir(tmp_path / "docs")
    elsewhere = CliRunner().invoke(cli.cli, arguments, obj=metadata)
    assert f"run this from {tmp_path}" in elsewhere.output.replace("\n", "")


@pytest.mark.parametrize("name", ["3", "0012", "no", "1e3", "null", "Ada Moreau|0"])
def test_a_target_stays_a_text_whatever_it_looks_like(name):
    assert reading(f"target={name},seed=3") == {"target": name, "seed": 3}
    assert reading(f"identities.targets={name}") == {"identities": {"targets": name}}
    assert parse_targets(reading(f"target={name}")["target"])[-1] == name.split("|")[-1]


def test_a_name_with_commas_is_one_target():
    """As ImageNet's classes have; control: what has a value of its own is none of it."""
    told = reading("seed=3,target=tench, Tinca tinca|goldfish, Carassius auratus,razor.tau=3")
    assert told == {
        "seed": 3,
        "target": "tench, Tinca tinca|goldfish, Carassius auratus",
        "razor": {"tau": 3},
    }
    assert parse_targets(told["target"]) == ["tench, Tinca tinca", "goldfish, Carassius auratus"]
    with pytest.raises(click.UsageError, match="Tinca tinca"):
        reading("seed=3, Tinca tinca")


def test_a_list_of_targets_stays_a_list():
    assert reading("target=[Ada Moreau],razor.tau=3") == {"target": ["Ada Moreau"], "razor": {"tau": 3}}


def test_a_list_with_commas_is_told_how_it_is_written():
    """Control: a value without a key that is no list."""
    with pytest.raises(click.UsageError, match=r"separated by \|, without brackets"):
        reading("data.reference_labels=[s36,s37],seed=3")
    assert reading("data.reference_labels=s36|s37") == {"data": {"reference_labels": "s36|s37"}}
    with pytest.raises(click.UsageError, match="Item `s37` must contain a key"):
        reading("seed=3,s37")


@pytest.mark.parametrize("target", [3, 0, False, 1.5])
def test_a_number_in_a_file_is_refused_in_a_sentence(target):
    with pytest.raises(SplittingError, match="is not a text; put it in quotes"):
        parse_targets(target)


def test_the_catalogs_read_what_may_be_said_beside_the_parameters():
    texts = [path.read_text() for path in (ROOT / "conf").glob("*/*.yml")]
    assert {key for text in texts for key in re.findall(r"runtime_params:(\w+)", text)} == set(CATALOG_KEYS)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("targets=Bruno Keller", "'targets' is no parameter; did you mean 'target'?"),
        ("razr.scoring.alpha=0.7", "'razr' is no parameter; did you mean 'razor'?"),
        ("xyzzy=1", "'xyzzy' is no parameter; there are "),
        ("razor.tau=-1", "tau is -1"),
        ("seed=x", "seed is 'x', but it must be a whole number from 0 on"),
        ("target=Adda Moreau", "Ada Moreau"),
        ("model.source=nowhere", "model.source 'nowhere' does not exist"),
        (
            "model.source=a/b,model.revision=main",
            "model.source 'a/b' is a hub id and model.revision is 'main'",
        ),
        ("model.family=vit", "model.family is given, and of the model its source and its revision can be"),
        ("model=5", "model is 5, and it must be a text"),
        ("model=null", "model is None, and it must be a text"),
        ("model=a/b,revision=1234", "revision is 1234, and it must be a text"),
        ("prompts=5", "prompts is 5, and it must be a text"),
    ],
)
def test_a_wrong_parameter_ends_the_run_in_a_sentence_before_anything_is_made(
    kedro_run, tmp_path, params, said
):
    before = set(tmp_path.rglob("*"))
    result = kedro_run("--params", params)
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output
    made = [path for path in set(tmp_path.rglob("*")) - before if path.is_file()]
    assert [path for path in made if "mlruns" not in path.name and "mlflow" not in str(path)] == []


def test_what_the_catalog_reads_is_no_misspelling(kedro_run):
    """Control: the run gets as far as the request."""
    result = kedro_run("--params", "device=cpu,model=data/01_raw/zoo/clip,target=Adda Moreau")
    assert "Ada Moreau" in result.output


def test_a_model_is_named_as_in_globals_yml_too():
    """Control: what else is given stays, and the short form as it is."""
    long = {"model": {"source": "a/b", "revision": "c"}, "seed": 3}
    assert with_model_named(long) == {"model": "a/b", "revision": "c", "seed": 3}
    short = {"model": "a/b", "revision": None, "seed": 3}
    assert with_model_named(short) == short


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pipelines", "reportin"], "'reportin' is no pipeline; did you mean reporting?"),
        (["--env", "vitt"], "vitt"),
        (["--params", "target=[Ada Moreau"], "is not to be read"),
    ],
)
def test_a_misspelling_ends_in_a_sentence(kedro_run, arguments, said):
    result = kedro_run(*arguments)
    assert said in " ".join(result.output.split())
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output


def refused(error):
    """What the terminal shows of a refusal by the project at hand."""

    def run():
        raise error

    return CliRunner().invoke(Refusing("run", callback=run)).output


def test_a_fault_of_another_library_keeps_its_traceback_and_a_refusal_does_not():
    def fault():
        json.loads("{")

    assert isinstance(CliRunner().invoke(Refusing("run", callback=fault)).exception, ValueError)
    for error in (
        ValueError("seed is x; give a number"),
        NonFiniteError("a loss is nan; nothing was written"),
    ):
        assert refused(error) == f"Error: {error}\n"


def test_a_run_knows_its_environment_and_what_it_was_given():
    bootstrap_project(ROOT)
    given = {"target": "Bruno Keller", "razor": {"tau": 0.5}}
    with KedroSession.create(ROOT, env="vit", runtime_params=given, save_on_close=False) as session:
        parameters = session.load_context().params
    assert parameters["invocation"] == {"env": "vit", "params": given}
    assert parameters["target"] == "Bruno Keller"


def test_what_is_given_of_a_group_leaves_the_rest_of_it_as_it_is_written(kedro_run, tmp_path):
    """Also where the environment has parameters, and none of this group; control: a value that is no group."""
    written = tmp_path / "conf/base/parameters_reporting.yml"
    written.write_text(written.read_text().replace("max_retain_drop: 0.01", "max_retain_drop: 0.07"))
    bootstrap_project(ROOT)
    given = {"reporting": {"max_forget_accuracy": 0.5}, "razor": {"components": 3}, "seed": 4}
    with KedroSession.create(tmp_path, env="vit", runtime_params=given, save_on_close=False) as session:
        parameters = session.load_context().params
    assert parameters["reporting"].max_retain_drop == 0.07
    assert parameters["reporting"].max_forget_accuracy == 0.5
    assert (parameters["razor"].components, parameters["razor"].scoring.depth) == (3, 0.5)
    assert parameters["seed"] == 4
    assert parameters["invocation"]["params"] == given
