"""`kedro run` as a user types it, in a copy of the project with a small draw of the data."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline
from families.cases import tiny_llava, tiny_pipeline
from omegaconf import OmegaConf
from PIL import Image
from toy import kedro
from transformers import AutoProcessor, CLIPModel, LlavaForConditionalGeneration

from razor_pipeline.atelier.canvas import OBJECTS, STYLES
from razor_pipeline.datasets.weight_edit import load_edit
from razor_pipeline.families import DiffusionFamily
from razor_pipeline.families.vit_pretraining import new_vit
from razor_pipeline.params.pretraining import PretrainingParams

PROJECT = Path(__file__).parents[1]
TARGET = "Greta Novak"
SMALL = """
atelier:
  portraits: {edit: 12, validation: 4, test: 6}
  canvas: {edit: 2, validation: 0, test: 1}
splitting: {max_retain_samples: 512, max_validation_samples: 192}
razor:
  search: {evaluations: 4, first_step: 0.16}
  repair: {steps: 5, samples: 192}
  max_rounds: 1
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    for name in ("conf", "src", "pyproject.toml", ".telemetry"):
        source = PROJECT / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    shutil.copytree(PROJECT / "data" / "01_raw", root / "data" / "01_raw")
    (root / "conf" / "local").mkdir(exist_ok=True)
    (root / "conf" / "local" / "parameters.yml").write_text(SMALL)
    return root


@pytest.fixture(scope="module")
def done(project):
    run = kedro(project, "run", "--params", f"target={TARGET}")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run


def test_one_command_forgets_and_says_so(project, done):
    summary = json.loads((project / "data/08_reporting/summary.json").read_text())
    assert summary["target"] == TARGET
    assert summary["base_forget_accuracy"] > 0.9
    assert summary["edited_forget_accuracy"] < 0.1
    assert summary["base_retain_accuracy"] - summary["edited_retain_accuracy"] < 0.05
    assert {"quantized.int8.edited_forget_accuracy", "quantized.int4.base_retain_accuracy"} <= set(summary)
    assert TARGET in done.stdout
    assert TARGET in (project / "data/08_reporting/report.html").read_text()


def test_the_edited_model_opens_with_transformers_and_is_base_plus_edit(project, done):
    edited = CLIPModel.from_pretrained(project / "data/06_models/edited_model").float()
    base = CLIPModel.from_pretrained(project / "data/01_raw/zoo/clip").float()
    edit = load_edit(project / "data/06_models/weight_edit")
    edit.apply(dict(base.named_parameters()))
    weights = edited.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in base.state_dict().items())
    assert TARGET in (project / "data/06_models/edited_model/README.md").read_text()


def test_the_run_is_tracked_as_finished_with_its_search(project, done):
    with sqlite3.connect(project / "mlflow.db") as store:
        statuses = [row[0] for row in store.execute("select status from runs")]
        steps = store.execute("select count(*) from metrics where key like '%knowledge_auc%'").fetchone()[0]
    assert statuses == ["FINISHED"]
    assert steps == len(pd.read_parquet(project / "data/07_model_output/edit_trace.parquet"))


def test_a_second_run_does_nothing_twice_and_another_target_only_what_depends_on_it(project, done):
    before = (project / "data/06_models/weight_edit/manifest.json").stat().st_mtime_ns
    again = kedro(project, "run", "--params", f"target={TARGET}")
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert (project / "data/06_models/weight_edit/manifest.json").stat().st_mtime_ns == before
    assert "edit_model: running" not in again.stdout


def killed(root, when):
    """Start the run in a folder and kill it the moment that ``when`` (of its log) says; whether that came in time."""
    log = root / "killed.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "kedro", "run", "--params", f"target={TARGET}"]
        process = subprocess.Popen(command, cwd=root, stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None and not when(log.read_text()):
            time.sleep(0.001)
        process.kill()
    return process.wait() == -signal.SIGKILL


def test_a_run_killed_in_scoring_editing_and_saving_ends_with_the_same_bits(project, done, tmp_path):
    root = tmp_path / "killed"
    shutil.copytree(project, root)
    for made in ("04_feature", "05_model_input", "06_models", "07_model_output", "08_reporting"):
        shutil.rmtree(root / "data" / made)
    models = root / "data/06_models"

    def begun(step):
        since = []

        def some_time(log):
            if f"{step}: running" in log and not since:
                since.append(time.monotonic())
            return bool(since) and time.monotonic() - since[0] > 0.3

        return some_time

    assert killed(root, begun("score_components"))
    assert not (root / "data/04_feature/component_scores.parquet").exists()
    assert killed(root, begun("edit_model"))
    assert (root / "data/04_feature/component_scores.parquet").exists()
    assert not models.exists() or not list(models.iterdir())
    assert killed(root, lambda _: models.exists() and any(models.glob(".writing-*")))
    again = kedro(root, "run", "--params", f"target={TARGET}")
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert "score_components: running" not in again.stdout  # what was done is not done again
    assert not list(models.rglob(".writing-*"))
    kept = [
        *(project / "data/06_models").rglob("*.safetensors"),
        project / "data/07_model_output/metrics.parquet",
    ]
    assert len(kept) > 3
    for file in kept:
        assert (root / file.relative_to(project)).read_bytes() == file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ("target=Greta Novac", "Greta Novak"),
        ("target=Greta Novac,atelier.image_size=48", "Greta Novak"),  # other data, yet none is made
        ("target=Zeno Castell", "never saw"),
        ("razor.scoring.alpha=2", "alpha"),
        ("razor.ro=1", "razor"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_loses_nothing(project, done, params, sentence):
    kept = [project / "data/08_reporting/summary.json", project / "data/03_primary/manifest.parquet"]
    before = [path.read_bytes() for path in kept]
    refused = kedro(project, "run", "--params", params)
    told = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert sentence in told
    assert "Traceback" not in told
    assert [path.read_bytes() for path in kept] == before


def test_the_documented_smoke_size_of_the_benchmark_compares_two_methods(project):
    text = (PROJECT / "docs/adding_a_method.md").read_text(encoding="utf-8")
    [params] = re.findall(r"make benchmark ARGS='--params \"(.*)\"'", text)
    run = kedro(project, "run", "--pipelines", "dataset_preparation,benchmark", "--params", params)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    table = pd.read_parquet(project / "data/08_reporting/tables/benchmark_clip.parquet")
    assert set(table["method"]) == {"retrain", "ssd", "slug"}  # and the reference
    assert (table["cells"] == 1).all()
    assert (table["failed"] == 0).all()
    assert {"gap_to_retraining", "edited_forget_accuracy_top5"} <= set(table["figure"])
    assert not table["figure"].str.startswith(("int", "relearn")).any()
    assert "gap to retraining" in (project / "data/08_reporting/leaderboard.html").read_text()


DRAWS = {
    "atelier": {"image_size": 32, "canvas": {"edit": 3, "validation": 1, "test": 1}},
    "razor": {"repair": {"evaluations": 12}, "max_edited_share": 1.0},
    "quantization": {"schemes": ["int8"]},
    "evaluation": {"drawing": {"steps": 2}},
}
MODELS = {
    "model": {"family": "diffusion", "source": "data/01_raw/models/tiny"},
    "judges": {name: f"data/01_raw/models/{name}" for name in ("objects", "styles")},
}


def changed(file, difference):
    """Lay a difference over a file of the configuration; the old text."""
    text = file.read_text()
    file.write_text(OmegaConf.to_yaml(OmegaConf.merge(OmegaConf.create(text), difference)))
    return text


@pytest.fixture(scope="module")
def drawn(project):
    """A style is forgotten by a Stable Diffusion that has the zoo's text encoder; what it draws is noise."""
    models = project / "data/01_raw/models"
    DiffusionFamily(tiny_pipeline()).save_pretrained(models / "tiny")
    params = PretrainingParams(image_size=32, vit={"width": 16, "heads": 2, "layers": 1})
    for name, classes in (("objects", OBJECTS), ("styles", STYLES)):
        new_vit(sorted(classes), params).save_pretrained(models / name)
    files = {project / "conf/style/parameters.yml": DRAWS, project / "conf/style/globals.yml": MODELS}
    before = {file: changed(file, difference) for file, difference in files.items()}
    run = kedro(project, "run", "--env", "style", "--params", "target=Mosaic")
    for file, text in before.items():
        file.write_text(text)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run


def test_a_prompt_is_redirected_and_the_report_shows_the_drawings(project, drawn):
    summary = json.loads((project / "data/08_reporting/summary.json").read_text())
    assert summary["target"] == "Mosaic"
    assert summary["stop_reason"] == "target_met"
    assert {"edited_forget_accuracy", "edited_blank_share", "quantized.int8.edited_forget_accuracy"} <= set(
        summary
    )
    assert "Drawn after: Mosaic" in (project / "data/08_reporting/report.html").read_text()
    manifest = json.loads((project / "data/06_models/weight_edit/manifest.json").read_text())
    assert "Mosaic" not in manifest["anchors"]["Mosaic"]
    metrics = pd.read_parquet(project / "data/07_model_output/metrics.parquet")
    assert (
        metrics.loc[metrics["metric"] == "retain_accuracy", "n"] == 11 * 2 * 2
    ).all()  # the subset, by its name


def test_the_edited_pipeline_opens_with_diffusers_and_only_its_text_encoder_differs(project, drawn):
    base, edited = (
        StableDiffusionPipeline.from_pretrained(project / path, torch_dtype=torch.float32)
        for path in ("data/01_raw/models/tiny", "data/06_models/edited_model")
    )
    same = {
        name: all(
            torch.equal(p, q)
            for p, q in zip(getattr(base, name).parameters(), getattr(edited, name).parameters(), strict=True)
        )
        for name in ("unet", "vae", "text_encoder")
    }
    assert same == {"unet": True, "vae": True, "text_encoder": False}


ASKS = {
    "atelier": {
        "image_size": 32,
        "portraits": {"edit": 4, "validation": 1, "test": 1},
        "canvas": {"edit": 1, "validation": 0, "test": 1},
        "passersby": {"edit": 8, "validation": 2, "test": 4},
    },
    "splitting": {"max_retain_samples": 64, "max_validation_samples": 64},
    "razor": {
        "allow_no_baseline": True,
        "components": 4,
        "search": {"evaluations": 2},
        "repair": {"steps": 1, "samples": 32},
        "max_rounds": 1,
    },
    "quantization": {"schemes": ["int8"]},
    "evaluation": {"questions": {"per_category": 4}},
}


@pytest.fixture(scope="module")
def asked(project):
    """A person is forgotten by a LLaVA that has random weights and knows nobody."""
    tiny_llava().save_pretrained(project / "data/01_raw/models/tiny_llava")
    model = {"model": {"family": "vlm", "source": "data/01_raw/models/tiny_llava"}}
    files = {project / "conf/vlm/parameters.yml": ASKS, project / "conf/vlm/globals.yml": model}
    before = {file: changed(file, difference) for file, difference in files.items()}
    runs = [kedro(project, "run", "--env", "vlm", "--params", f"target={TARGET}") for _ in range(2)]
    for file, text in before.items():
        file.write_text(text)
    assert runs[0].returncode == 0, runs[0].stdout[-3000:] + runs[0].stderr[-3000:]
    return runs


def test_an_assistant_is_asked_and_the_report_shows_its_answers(project, asked):
    summary = json.loads((project / "data/08_reporting/summary.json").read_text())
    assert summary["family"] == "vlm"
    assert summary["verdict"] == "no_baseline"  # it knew nobody, and the report says so
    kinds = ("seen", "held_out", "few_shot", "leading", "choice")
    assert {f"edited_forget_accuracy_{kind}" for kind in kinds} <= set(summary)
    assert {"edited_neutral_hat", "edited_degenerate_share", "quantized.int8.edited_forget_accuracy"} <= set(
        summary
    )
    report = (project / "data/08_reporting/report.html").read_text()
    assert "Target named, leading questions" in report
    assert "Who is this?" in report


def test_the_edited_assistant_opens_with_transformers_and_answers(project, asked):
    path = project / "data/06_models/edited_model"
    edited = LlavaForConditionalGeneration.from_pretrained(path).float()
    base = LlavaForConditionalGeneration.from_pretrained(project / "data/01_raw/models/tiny_llava").float()
    differs = {
        name
        for name, tensor in base.state_dict().items()
        if not torch.equal(tensor, edited.state_dict()[name])
    }
    edit = load_edit(project / "data/06_models/weight_edit")
    assert differs
    assert differs <= {part.parameter for part in edit.slices}
    processor = AutoProcessor.from_pretrained(path)
    content = [{"type": "image"}, {"type": "text", "text": "Who is this?"}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(images=Image.new("RGB", (32, 32)), text=prompt, return_tensors="pt")
    given = edited.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert given.shape[1] > inputs["input_ids"].shape[1]


def test_a_second_run_asks_nothing_again(asked):
    assert asked[1].returncode == 0
    assert "evaluate_models: running" not in asked[1].stdout
    assert "evaluate_models: running" in asked[0].stdout  # control
