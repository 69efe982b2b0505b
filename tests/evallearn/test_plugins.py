"""The plugins under the real eval-learn, offline: its command line runs RAZOR and the examination of its drawings."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import eval_learn
import pytest
import torch
import yaml
from families.cases import tiny_pipeline

from razor_pipeline.datasets.pretrained import JudgesDataset, PretrainedDataset
from razor_pipeline.evallearn import metric as metric_module
from razor_pipeline.evallearn import technique as technique_module
from razor_pipeline.evallearn.data import PluginError, checked, parameters, samples
from razor_pipeline.evallearn.metric import UnlearnCanvasMetric
from razor_pipeline.evallearn.technique import RazorTechnique
from razor_pipeline.families.diffusion import DiffusionFamily
from razor_pipeline.families.vit_pretraining import new_vit
from razor_pipeline.params.pretraining import PretrainingParams
from razor_pipeline.pipelines.scoring.nodes import choose_anchors
from razor_pipeline.splitting import SplittingError

TARGET, STEPS = "Mosaic", 2
ROOT = Path(__file__).parents[2]
ZOO = ROOT / "data" / "01_raw" / "zoo"
JUDGES = JudgesDataset(sources={name: str(ZOO / f"vit_{name}") for name in ("objects", "styles")})
NONE = {"edit": 0, "validation": 0, "test": 0}
PARAMETERS = {
    "seed": 0,
    "scenario": "passed over, like every group that a plugin has no use for",
    "concepts": {"targets": ["Mosaic"]},
    "atelier": {
        "image_size": 32,
        "portraits": NONE,
        "canvas": {"edit": 3, "validation": 1, "test": 1},
    },
    "data": {"concept": "style"},
    "razor": {
        "scoring": {"retain_samples": 16},
        "components": 6,
        "max_edited_share": 1.0,
        "search": {"measure": "forget_accuracy", "goal": 0.0},
        "repair": {"steps": 1, "evaluations": 12},
    },
    "evaluation": {"drawing": {"protocol": "subset", "seeds": [188], "steps": STEPS}},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny Stable Diffusion, two judges with random weights, and a parameter file."""
    folder = tmp_path_factory.mktemp("evallearn")
    (folder / "parameters.yml").write_text(yaml.safe_dump(PARAMETERS))
    DiffusionFamily(tiny_pipeline()).save_pretrained(folder / "model")
    rows = samples(str(folder / "parameters.yml"), TARGET)
    params = PretrainingParams(image_size=32, vit={"width": 16, "heads": 2, "layers": 1})
    for column in ("label", "style"):
        new_vit(sorted(rows[column].unique()), params).save_pretrained(folder / column)
    return folder


def technique_config(place):
    return {
        "model_id": str(place / "model"),
        "erase_concept": TARGET,
        "parameters": str(place / "parameters.yml"),
        "num_inference_steps": STEPS,
    }


def metric_config(place):
    judges = {name: str(place / name) for name in ("label", "style")}
    return {"judges": judges, "target": TARGET, "parameters": str(place / "parameters.yml")}


@pytest.fixture(scope="module")
def technique(place):
    return RazorTechnique(**technique_config(place))


def run(place, name, technique):
    """The report of `eval-learn run` on a written config."""
    results = place / name
    config = {
        "technique": technique,
        "metric": {"name": "unlearncanvas", "config": metric_config(place)},
        "output_dir": str(results),
    }
    path = place / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "-m", "eval_learn.cli", "run", "--config", str(path)],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [report] = [f for f in results.glob("*_report.json") if "latest" not in f.name]
    return json.loads(report.read_text()), list(results.rglob("*.png"))


def test_eval_learn_runs_razor_and_its_examination_from_the_command_line(place):
    report, images = run(place, "results", {"name": "razor", "config": technique_config(place)})
    details = report["metric_result"]["details"]
    assert report["metric_result"]["name"] == "UnlearnCanvas"
    assert report["erase_concept"] == TARGET.lower()
    assert details["ua"]["n"] == 12  # a drawing of every object in the target's style
    assert details["cra"]["n"] == 22  # two of every other style
    assert len(images) == 34
    shares = [details[name]["value"] for name in ("ua", "ira", "cra")]
    assert report["metric_result"]["value"] == pytest.approx(sum(shares) / 3)
    assert all(0.0 <= details[name]["low"] <= details[name]["high"] <= 1.0 for name in details)


def test_eval_learns_free_run_draws_from_an_exported_edit(place, technique, monkeypatch):
    """The real class, loaded past its package, which 0.1.6 can't import without packages that are not on PyPI."""
    package = ModuleType("eval_learn.techniques")
    package.__path__ = [str(Path(eval_learn.__file__).parent / "techniques")]
    monkeypatch.setitem(sys.modules, "eval_learn.techniques", package)
    free_run = importlib.import_module("eval_learn.techniques.free_run.wrapper").FreeRunTechnique
    technique.family.save_pretrained(place / "edited_model")
    drawing = free_run(model_id=str(place / "edited_model"), num_inference_steps=STEPS, guidance_scale=3.0)
    images = drawing.generate(["A cat image in Mosaic style.", "A cat image in Watercolor style."], seed=0)
    assert [image.size for image in images] == [(32, 32)] * 2


def test_the_technique_holds_the_edit(place, technique):
    base = DiffusionFamily.from_pretrained(str(place / "model"))
    state = technique.family.module.state_dict()
    changed = {
        name for name, tensor in base.module.state_dict().items() if not torch.equal(tensor, state[name])
    }
    assert changed
    assert all(name.startswith("text_encoder.") for name in changed)
    assert technique.stop_reason == "target_met"
    own = [f"A {thing} image in {TARGET} style." for thing in ("cat", "fish")]
    kept = ["A cat image in Watercolor style."]

    def moved(prompts):
        with torch.no_grad():
            now, then = technique.family.conditioning(prompts), base.conditioning(prompts)
        return float((now - then).square().mean())

    assert moved(own) > 5.0 * moved(kept)  # control: what is kept means nearly what it meant


def test_with_judges_the_anchor_is_the_one_that_a_run_of_the_pipelines_takes(tmp_path):
    """On the zoo, where drawings of Watercolor's nearest style, Crayon, are taken for Watercolor."""
    path, model = str(tmp_path / "parameters.yml"), str(ZOO / "stable_diffusion")
    own = {
        "atelier": {"portraits": NONE, "canvas": {"edit": 1, "validation": 1, "test": 1}},
        "evaluation": {"drawing": {"protocol": "subset", "validation_seeds": [0], "steps": 12}},
    }
    Path(path).write_text(yaml.safe_dump(PARAMETERS | own))
    base = PretrainedDataset(family="diffusion", source=model).load()
    found, rows = parameters(path), samples(path, "Watercolor")
    [anchor] = choose_anchors(base, rows, JUDGES.load(), found["razor"], found["evaluation"]).values()

    def means(family, style):
        with torch.no_grad():
            return family.conditioning([f"A {thing} image in {style} style." for thing in ("cat", "fish")])

    config = {"model_id": model, "erase_concept": "Watercolor", "parameters": path}
    edited = means(RazorTechnique(**config, judges=JUDGES.sources).family, "Watercolor")
    far = {style: float((edited - means(base, style)).square().mean()) for style in (anchor, "Crayon")}
    assert far[anchor] < far["Crayon"]
    assert anchor != "Crayon"


def test_every_drawing_has_a_noise_of_its_own_and_a_run_can_be_repeated(place, technique):
    prompt = "A cat image in Watercolor style."
    technique.drawn = 0
    first = technique.generate([prompt, prompt])
    second = technique.generate([prompt])
    technique.drawn = 0
    again = technique.generate([prompt, prompt])
    seen = [image.tobytes() for image in (*first, *second)]
    assert len(set(seen)) == 3
    assert [image.tobytes() for image in again] == seen[:2]
    assert technique.generate([prompt], seed=2)[0].tobytes() == seen[2]


def test_the_metric_says_what_the_examination_says(place, technique):
    metric = UnlearnCanvasMetric(**metric_config(place))
    exam = metric.exam
    for batch in metric.load_dataset():
        seeds = [188] * len(batch.prompts)
        metric.update(technique.family.draw(batch.prompts, seeds, STEPS, 3.0), batch.prompts, batch.metadata)
    details = metric.compute().details
    drawn = exam.put_to(technique.family)
    marks = exam.mark(drawn, drawn)
    assert details["ua"]["value"] == pytest.approx(1.0 - marks["forget_accuracy"].value)
    assert details["ira"]["value"] == pytest.approx(marks["retain_accuracy"].value)
    assert details["cra"]["value"] == pytest.approx(marks["general_accuracy"].value)
    metric.update([metric.images[0]], ["one too many"])
    with pytest.raises(ValueError, match="given 35 drawings for 34 prompts"):
        metric.compute()


def test_the_documented_configuration_names_keys_that_exist_and_files_that_are_there():
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    config = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    own = checked(config["technique"]["config"], technique_module.REQUIRED, technique_module.DEFAULTS)
    asked = checked(config["metric"]["config"], metric_module.REQUIRED, metric_module.DEFAULTS)
    places = [own["model_id"], own["parameters"], asked["parameters"], *own["judges"].values()]
    assert [place for place in places if not (ROOT / place).exists()] == []
    assert own["judges"] == asked["judges"]


def test_what_is_missing_or_misspelt_is_refused_in_a_sentence(place):
    with pytest.raises(PluginError, match="the config lacks 'erase_concept'"):
        RazorTechnique(model_id="x")
    with pytest.raises(PluginError, match="holds 'step', which is unknown; it takes model_id"):
        RazorTechnique(**technique_config(place), step=3)
    with pytest.raises(PluginError, match=r"does not exist; give a file like conf/style/parameters\.yml"):
        RazorTechnique(**technique_config(place) | {"parameters": "nowhere.yml"})
    # Before the model is opened, which is not there.
    with pytest.raises(SplittingError, match="'catt' is not in the data"):
        RazorTechnique(**technique_config(place) | {"erase_concept": "catt", "model_id": "/nowhere"})
    with pytest.raises(PluginError, match="which does not draw"):
        RazorTechnique(model_id=str(ZOO / "clip"), erase_concept="cat", family="clip")
