"""`make run` hands its target to the command as it was typed, the pages' commands work, and installs are pinned."""

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project

from razor_pipeline.cli import cli
from razor_pipeline.cli import run as kedro_run
from razor_pipeline.datasets.sources import listing
from razor_pipeline.param_errors import ParameterError
from razor_pipeline.params.base import overlaid
from razor_pipeline.params.data import AtelierParams, DataParams
from razor_pipeline.runtime_params import CATALOG_KEYS, refuse_unknown
from razor_pipeline.settings import CONFIG_LOADER_ARGS
from razor_pipeline.splitting import SplittingError, parse_targets, resolve_targets

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A command, with the variables that are set before it: inline, or in an indented block, where a line may go on.
COMMAND = r"(?:[A-Z_]+=\S+ )*(?:make|kedro (?:run|unlearning|edit|tracking))\b"
INLINE, BLOCK = re.compile(f"`({COMMAND}[^`]*)`"), re.compile(f"(?m)^ {{4,}}({COMMAND}(?:.*\\\\\n)*.*)$")
MADE_UP = ("atelier", "digits")  # sources of data that anybody has
OUTER = ("ARGS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "TARGET")  # of `make test` itself
PINNED = re.compile(r"([\w.-]+)==[\w.!+]+")


def make(*arguments: str) -> list[str]:
    """The words that `make` would call Kedro with; the environment counts as installed."""
    command = ["make", "-s", "-o", ".venv/.runtime", *arguments, "KEDRO_RUN=printf '%s\\n'"]
    kept = {name: value for name, value in os.environ.items() if name not in OUTER}
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    "target", ["Ada Moreau", "Ada Moreau|Bruno Keller", "Ada O'Moreau", 'the "sunny" style', "$HOME `id`; id"]
)
def test_the_target_arrives_as_it_was_typed(target: str) -> None:
    escaped = target.replace("$", "$$")  # make's own rule
    assert make("run", f"TARGET={escaped}") == ["--params", f"target={target}"]


def test_without_a_target_the_parameters_decide() -> None:
    assert make("run") == [""]


def test_arguments_are_passed_on() -> None:
    assert make("run", "ARGS=--env images") == ["--env", "images"]


@pytest.mark.parametrize("study", ["identities", "ablation", "benchmark", "bench"])
def test_a_study_makes_its_data_first(study: str) -> None:
    goal = {"identities": "evaluate"}.get(study, study)
    assert make(goal) == ["--pipelines", f"dataset_preparation,{study}"]


def test_classifiers_are_compared_with_gold_standards_that_are_trained_first() -> None:
    assert make("evaluate-vit") == [
        *("--env", "vit", "--pipelines", "dataset_preparation,retraining,identities"),
        *("--env", "digits", "--pipelines", "dataset_preparation,pretraining,retraining,identities"),
    ]


def commands() -> list[str]:
    """Every `make …` and `kedro …` of our own on the pages, on one line."""
    found = [match for page in PAGES for form in (INLINE, BLOCK) for match in form.findall(page.read_text())]
    plain = (" ".join(text.replace("\\\n", " ").replace("\\|", "|").split()) for text in found)
    return sorted(set(plain) - {"make", "kedro run"})


def kedro_runs(command: str) -> list[list[str]]:
    """The arguments of each `kedro run` that a command comes to; none where `make` starts something else."""
    words = shlex.split(command, comments=True)
    while "=" in words[0]:
        del words[0]
    if words[:2] == ["kedro", "run"]:
        return [words[2:]]
    kept = {name: value for name, value in os.environ.items() if name not in OUTER}
    made = ["make", "-n", "-o", ".venv/.runtime", *words[1:], "KEDRO_RUN=kedro run"]
    done = subprocess.run(made, cwd=ROOT, env=kept, capture_output=True, text=True, check=True)
    target = next((word.removeprefix("TARGET=") for word in words if word.startswith("TARGET=")), "")
    lines = [line for line in done.stdout.splitlines() if line.startswith("kedro run")]
    return [shlex.split(line.replace("$TARGET", target))[2:] for line in lines]


@cache
def configured(env: str) -> dict[str, Any]:
    return dict(OmegaConfigLoader(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)["parameters"])


@cache
def known(env: str) -> pd.DataFrame:
    """What an environment's data has; no image is drawn."""
    given = configured(env)
    return listing(DataParams.model_validate(given["data"]), AtelierParams.model_validate(given["atelier"]))


def named(params: dict[str, Any]) -> Iterator[object]:
    """The targets of a run and of its studies."""
    if "target" in params:
        yield params["target"]
    yield from (
        group["targets"] for group in params.values() if isinstance(group, dict) and "targets" in group
    )


def check_run(arguments: list[str]) -> None:
    """Raise where Kedro would refuse, before a model is opened."""
    said = kedro_run.make_context("run", list(arguments)).params
    env, params = said["env"] or "base", said["params"]
    assert (ROOT / "conf" / env).is_dir(), f"no environment {env}"
    bootstrap_project(ROOT)
    assert set(said["pipelines"]) <= set(pipelines), f"no such pipelines: {said['pipelines']}"
    refuse_unknown(params, {*configured(env), *CATALOG_KEYS})
    data = overlaid(configured(env)["data"], params.get("data", {}))
    if data.get("source", "atelier") in MADE_UP:
        names = [name for targets in named(params) for name in parse_targets(targets) if not stands_for(name)]
        resolve_targets(known(env), names, data.get("concept", "label"))


def stands_for(name: str) -> bool:
    """Whether a name is one to be filled in: A, <class>, …"""
    return name.isupper() or bool(set("<…") & set(name))


def check_words(words: list[str]) -> None:
    """Raise where a command of our own has no such name, option or place for a word; files need not exist."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        context = click.Context(command)
        _, rest, _ = command.make_parser(context).parse_args(list(words))
        if not rest:
            return  # the group itself is meant
        found = command.get_command(context, rest[0])
        assert found is not None, f"no command {rest[0]}"
        command, words = found, rest[1:]
    _, left, _ = command.make_parser(click.Context(command)).parse_args(list(words))
    assert not left, f"no place for {left}"


def check(command: str) -> None:
    words = shlex.split(command, comments=True)
    if words[0] == "kedro" and words[1] != "run":
        check_words(words[1:])
        return
    for arguments in kedro_runs(command):
        check_run(arguments)


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_pages_is_one_that_works(command: str) -> None:
    check(command)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("make nothing", subprocess.CalledProcessError),
        ("kedro run --env nothing", AssertionError),
        ("kedro run --pipelines dataset_preparation,nothing", click.BadParameter),
        ("kedro run --nothing", click.UsageError),
        ("kedro unlearning nothing", AssertionError),
        ("kedro unlearning list --nothing", click.UsageError),
        ("kedro unlearning show REQ-2026-0001 dpo-1", AssertionError),
        ("kedro edit verify --model", click.UsageError),
        ("make run ARGS='--params \"razr.tau=3\"'", ParameterError),
        ('make run TARGET="Adda Moreau"', SplittingError),
        # its second run, of objects, refuses a style; and the other way round
        ("make evaluate-deep ARGS='--params concepts.targets=Mosaic'", SplittingError),
        ("make evaluate-deep ARGS='--params \"concepts.targets=cat|fish\"'", SplittingError),
    ],
)
def test_control_a_command_that_does_not_work_is_found(command: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check(command)


def test_control_the_pages_commands_are_read_whole() -> None:
    found = commands()
    assert len(found) > 50
    assert 'make run TARGET="Greta Novak"' in found  # inline
    assert "kedro unlearning audit verify" in found
    assert 'kedro run --env combination --params "target=cat in Mosaic"' in found  # in a block
    assert any(
        command.startswith("OMP_NUM_THREADS=1 kedro run") and "processes=2" in command for command in found
    )


def test_cleaning_keeps_what_serves_and_its_evidence(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    kept = [
        "data/01_raw/zoo/clip/model.safetensors",
        "data/03_primary/.gitkeep",
        "data/06_models/requests/clip/r-v1/evidence/evidence.json",
        "data/08_reporting/requests/audit_anchors.txt",
        "data/requests.db",
    ]
    gone = ["data/06_models/edited_model/model.safetensors", "data/08_reporting/report.html"]
    for name in [*kept, *gone]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    subprocess.run(["make", "-s", "clean"], cwd=tmp_path, check=True)
    left = {str(file.relative_to(tmp_path)) for file in (tmp_path / "data").rglob("*") if file.is_file()}
    assert left == set(kept)


def test_an_environment_that_failed_is_made_again(tmp_path: Path) -> None:
    """Debian's Python without python3-venv leaves an interpreter behind, and no pip."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    python, made = tmp_path / "python", tmp_path / ".venv" / "bin" / "python"
    lines = ("#!/bin/sh", 'case "$1" in -m) mkdir -p .venv/bin; touch .venv/bin/python; exit STATUS;; esac')

    def ask(status: int) -> subprocess.CompletedProcess[str]:
        python.write_text("\n".join(lines).replace("STATUS", str(status)) + "\n", encoding="utf-8")
        python.chmod(0o755)
        command = ["make", "-s", ".venv/bin/python", f"PYTHON={python}"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ask(1).returncode != 0
    assert not made.exists()
    assert ask(0).returncode == 0
    assert made.exists()  # control


def test_every_installed_package_is_pinned() -> None:
    text = (ROOT / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    pinned = {found[1].lower().replace("_", "-") for line in lines if (found := PINNED.fullmatch(line))}
    assert len(pinned) == len(lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(w for extra in project["optional-dependencies"].values() for w in extra),
    ]
    names = {re.split(r"[\[<>=~]", name)[0].lower().replace("_", "-") for name in wanted}
    assert names - pinned == {"razor-pipeline"}


def test_continuous_integration_has_a_command() -> None:
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("make test")
