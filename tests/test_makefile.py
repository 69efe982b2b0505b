"""`make run` hands its target to the command as it was typed, and what is installed is pinned."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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
