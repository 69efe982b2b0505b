"""Conventions of the project: what is catalogued, what is used, and who runs what."""

import ast
import graphlib
import inspect
import itertools
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError, MemoryDataset
from kedro.pipeline import Pipeline

from razor_pipeline.hooks import LOCK, AloneHooks, AnotherRunError, PlaceHooks, _taken
from razor_pipeline.params.data import DataParams
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests.validation import SERVED
from razor_pipeline.settings import CONFIG_LOADER_ARGS, HOOKS

ROOT = Path(__file__).parents[1]
LAYERS = ["raw", "intermediate", "primary", "model_input", "feature", "models", "model_output", "reporting"]
PARAMETERS = ("params:", "parameters")
LONGEST_NODE = 15
ENVIRONMENTS = sorted(
    path.name for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name != "local"
)


def loader(env: str = "base") -> OmegaConfigLoader:
    return OmegaConfigLoader(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    return dict(loader()["catalog"])


@pytest.fixture(scope="module")
def registered() -> dict[str, Pipeline]:
    bootstrap_project(ROOT)
    return dict(pipelines)


def names(registered: dict[str, Pipeline]) -> set[str]:
    return {name for pipeline in registered.values() for name in pipeline.datasets()}


def test_every_dataset_has_a_layer(catalog: dict[str, Any]) -> None:
    found = {
        name: entry.get("metadata", {}).get("kedro-viz", {}).get("layer") for name, entry in catalog.items()
    }
    assert {name: layer for name, layer in found.items() if layer not in LAYERS} == {}


def test_the_layers_follow_one_another(catalog: dict[str, Any], registered: dict[str, Pipeline]) -> None:
    """kedro-viz draws no layers at all where a step leads back to an earlier one."""
    layer = {name: entry["metadata"]["kedro-viz"]["layer"] for name, entry in catalog.items()}
    before: dict[str, set[str]] = {}
    for node in (node for pipeline in registered.values() for node in pipeline.nodes):
        for source, made in itertools.product(node.inputs, node.outputs):
            if source in layer and layer[source] != layer[made]:
                before.setdefault(layer[made], set()).add(layer[source])
    graphlib.TopologicalSorter(before).prepare()  # a CycleError names the layers
    assert "model_output" in before
    before["models"].add("model_output")  # control
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(before).prepare()


def test_nothing_that_a_step_makes_lives_in_memory_only(
    catalog: dict[str, Any], registered: dict[str, Pipeline]
) -> None:
    made = {name for name in names(registered) if not name.startswith(PARAMETERS)}
    assert made - catalog.keys() == set()


def test_every_catalogued_dataset_is_used(catalog: dict[str, Any], registered: dict[str, Pipeline]) -> None:
    assert catalog.keys() - names(registered) == set()


def test_every_parameter_is_used(registered: dict[str, Pipeline]) -> None:
    used = {name.partition(":")[2] for name in names(registered) if name.startswith("params:")}
    assert set(loader()["parameters"]) - used - {"scenario", "invocation"} == set()


def test_every_parameter_that_is_read_is_written_down(registered: dict[str, Pipeline]) -> None:
    used = {
        name.partition(":")[2].partition(".")[0] for name in names(registered) if name.startswith("params:")
    }
    assert used - set(loader()["parameters"]) == set()


def test_steps_are_named_and_one_name_is_one_step(registered: dict[str, Pipeline]) -> None:
    nodes = {node.name: node for pipeline in registered.values() for node in pipeline.nodes}
    for pipeline in registered.values():
        for node in pipeline.nodes:
            assert node._name, f"{node} has no name"
            assert nodes[node.name] == node


def test_the_default_pipeline_needs_models_prompts_and_what_it_read_before(
    registered: dict[str, Pipeline],
) -> None:
    needs = {name for name in registered["__default__"].inputs() if not name.startswith(PARAMETERS)}
    assert needs == {"base_model", "drawn_size", "evaluation_prompts", "judges", "sound_images"}


def test_steps_are_short(registered: dict[str, Pipeline]) -> None:
    """A node unpacks, calls and returns; the work is elsewhere and knows no Kedro."""
    functions = {node.func for pipeline in registered.values() for node in pipeline.nodes}
    bodies = {function.__qualname__: statement_lines(function) for function in functions}
    assert {name: lines for name, lines in bodies.items() if lines > LONGEST_NODE} == {}


def statement_lines(function: Any) -> int:
    """Lines of a function's body without its docstring."""
    [tree] = ast.parse(inspect.getsource(function)).body
    assert isinstance(tree, ast.FunctionDef)
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    return sum((node.end_lineno or 0) - node.lineno + 1 for node in body)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_an_environment_only_changes_what_is_there(env: str, catalog: dict[str, Any]) -> None:
    changed = loader(env)
    assert changed["catalog"].keys() == catalog.keys()
    assert changed["parameters"].keys() == loader()["parameters"].keys()


def test_a_training_asks_before_anything_runs_whether_its_place_takes_it(
    registered: dict[str, Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert any(isinstance(hook, PlaceHooks) for hook in HOOKS)
    with KedroSession.create(ROOT, env="style_deep") as session:  # it trains a CLIP, as base does
        catalog: Any = session.load_context().catalog
    asked = PlaceHooks()
    with pytest.raises(
        DatasetError, match="which it would be written over, is of the family 'diffusion_deep'"
    ):
        asked.before_pipeline_run(registered["pretraining"], catalog)
    asked.before_pipeline_run(registered["editing"], catalog)  # control


def test_gold_standards_may_lie_beside_the_base_model_and_not_over_it(
    registered: dict[str, Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    asked, both = PlaceHooks(), registered["retraining"] + registered["identities"]
    groups = {"retraining": {"groups": {"clip_without_a": ["Ada Moreau"]}}}
    with KedroSession.create(ROOT, runtime_params=groups) as session:
        asked.before_pipeline_run(both, session.load_context().catalog)
    over = groups | {"model": "data/01_raw/zoo/clip_without_a"}
    with KedroSession.create(ROOT, runtime_params=over) as session:
        catalog: Any = session.load_context().catalog
    with pytest.raises(DatasetError, match="lies where this run writes its retrained_models"):
        asked.before_pipeline_run(both, catalog)


@pytest.mark.parametrize(
    "model", ["data/06_models/edited_model", "data/06_models", "data/06_models/quantized/int8"]
)
def test_a_model_that_a_run_would_write_over_is_refused(
    registered: dict[str, Pipeline], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who forgets somebody else later begins at the edited model, where the next one would be saved."""
    monkeypatch.chdir(ROOT)
    asked, both = PlaceHooks(), registered["editing"] + registered["quantization"]
    with KedroSession.create(ROOT, runtime_params={"model": model}) as session:
        catalog: Any = session.load_context().catalog
    with pytest.raises(DatasetError, match="would be written over; copy it to another directory"):
        asked.before_pipeline_run(both, catalog)
    with KedroSession.create(ROOT, runtime_params={"model": "data/01_raw/zoo/clip"}) as session:
        asked.before_pipeline_run(both, session.load_context().catalog)  # control


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("data/01_raw/zoo/vit_objects", "says 'vit', which is of the family vit; name another model"),
        ("data/01_raw/zoo/nobody", "does not exist"),
        ("openai/clip-vit-base-patch32", "pin it to a commit"),
    ],
)
def test_a_model_that_does_not_open_is_refused_before_data_are_prepared(
    registered: dict[str, Pipeline], model: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    asked = PlaceHooks()
    with KedroSession.create(ROOT, runtime_params={"model": model}) as session:
        catalog: Any = session.load_context().catalog
    with pytest.raises(DatasetError, match=said):
        asked.before_pipeline_run(registered["editing"], catalog)
    asked.before_pipeline_run(registered["dataset_preparation"], catalog)  # control: it reads no model


@pytest.mark.parametrize(("model", "pinned"), [("openai/clip-vit-base-patch32", False), (None, True)])
def test_the_revision_of_an_environment_is_that_of_its_model(model: str | None, pinned: bool) -> None:
    given = {"data": {"path": "/my/images"}, **({"model": model} if model else {})}
    with KedroSession.create(ROOT, env="clip_l14", runtime_params=given) as session:
        catalog: Any = session.load_context().catalog
    assert bool(catalog["base_model"].revision) == pinned


HOLD = """
import sys
from pathlib import Path
from types import SimpleNamespace
from kedro.framework.startup import bootstrap_project
from razor_pipeline.hooks import AloneHooks
from types import SimpleNamespace as Namespace
hooks = AloneHooks()
hooks.after_context_created(Namespace(project_path=Path(sys.argv[1])))
pipeline = Namespace(all_outputs=lambda: {"x"}, inputs=set)
catalog = {"x": Namespace(path=Path("x"))}
hooks.before_pipeline_run(pipeline, catalog)
print("held", flush=True)
sys.stdin.read()
"""


def test_two_runs_do_not_work_in_one_folder(registered: dict[str, Pipeline], tmp_path: Path) -> None:
    assert any(isinstance(hook, AloneHooks) for hook in HOOKS)
    (tmp_path / "pyproject.toml").touch()
    with KedroSession.create(ROOT) as session:
        catalog: Any = session.load_context().catalog
    ours = AloneHooks()
    ours.after_context_created(SimpleNamespace(project_path=tmp_path))  # type: ignore[arg-type]
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    for name in ("editing", "requests"):  # requests.wait_seconds is 0 here
        with pytest.raises(AnotherRunError, match="another run works in"):
            ours.before_pipeline_run(registered[name], catalog)
    patient = catalog.load("params:requests").model_copy(update={"wait_seconds": 600.0})
    catalog["params:requests"] = MemoryDataset(patient)
    ending = Timer(0.5, other.communicate)  # ends, and gives the folder back
    ending.start()
    ours.before_pipeline_run(registered["requests"], catalog)  # requests wait for it
    ending.join()
    for _ in range(2):  # the second as if the first one had been refused behind this hook
        ours.before_pipeline_run(registered["editing"], catalog)
    ours.on_pipeline_error()


class Reading:
    """Reads what a run left, as the hooks of the closing table and of MLflow do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.free: list[bool] = []

    @hook_impl
    def after_pipeline_run(self) -> None:
        with (self.folder / LOCK).open() as file:
            self.free.append(_taken(file))
        raise OSError("what is read is gone")


def test_a_run_has_its_folder_until_its_results_are_read(
    registered: dict[str, Pipeline], tmp_path: Path
) -> None:
    (tmp_path / LOCK).touch()
    with KedroSession.create(ROOT) as session:
        catalog: Any = session.load_context().catalog
    ours, reading = AloneHooks(), Reading(tmp_path)
    ours.after_context_created(SimpleNamespace(project_path=tmp_path))  # type: ignore[arg-type]
    manager = _create_hook_manager()
    for hook in (reading, ours):
        manager.register(hook)
    ours.before_pipeline_run(registered["editing"], catalog)
    for _ in range(2):  # the second time nothing holds it any more, although what read it failed
        with pytest.raises(OSError, match="is gone"):
            manager.hook.after_pipeline_run(
                run_params={}, run_result={}, pipeline=registered["editing"], catalog=catalog
            )
    assert reading.free == [False, True]


HEAVY = {"torch", "pandas", "matplotlib", "mlflow", "transformers"}


def test_commands_and_settings_open_in_a_moment() -> None:
    told = "import razor_pipeline.cli, razor_pipeline.settings, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()
    assert "kedro" in done.stdout.split()  # control


@pytest.fixture(scope="module")
def lines() -> dict[str, RequestsParams]:
    """Environment -> its requests, of which ``model`` names its line of models."""
    return {env: RequestsParams.model_validate(loader(env)["parameters"]["requests"]) for env in ENVIRONMENTS}


def test_environments_share_a_line_of_requests_only_with_model_and_concept(
    lines: dict[str, RequestsParams],
) -> None:
    """A request that one environment has validated is run by every other one of its line."""
    edited: dict[str, dict[str, str]] = {}
    for env, requests in lines.items():
        configured = loader(env)
        concept = configured["parameters"]["data"].get("concept", DataParams.model_fields["concept"].default)
        if configured["globals"]["model"]["family"] not in SERVED:
            continue  # it takes no requests
        edited.setdefault(requests.model, {})[env] = f"{concept} of {dict(configured['globals']['model'])}"
    assert {line: of for line, of in edited.items() if len(set(of.values())) > 1} == {}
    assert set(edited["clip"]) == {"base", "enterprise"}  # control: some do share one


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_what_base_says_of_requests_holds_in_every_environment(env: str, tmp_path: Path) -> None:
    """An environment's group replaces base's as a whole, so none but the team's own names it."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    file = tmp_path / "conf/base/parameters_requests.yml"
    text = file.read_text()
    assert "approvals: 1" in text
    file.write_text(text.replace("approvals: 1", "approvals: 3"))
    changed = OmegaConfigLoader(str(tmp_path / "conf"), env=env, **CONFIG_LOADER_ARGS)
    assert changed["parameters"]["requests"]["approvals"] == (2 if env == "enterprise" else 3)


def packaged(patterns: list[str]) -> set[Path]:
    """Files beside the code that a wheel holds under these patterns of package-data."""
    package = ROOT / "src/razor_pipeline"
    return {path for pattern in patterns for path in package.glob(pattern)}


def test_every_template_is_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    templates = set((ROOT / "src").rglob("*.j2"))
    assert templates - packaged(settings["tool"]["setuptools"]["package-data"]["razor_pipeline"]) == set()
    assert templates - packaged(["py.typed", "reporting/*.j2"])  # control
