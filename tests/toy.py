"""A Kedro project of three quick steps that runs with this project's settings, datasets, runner and hook."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]

FILES = {
    "pyproject.toml": """
[tool.kedro]
package_name = "toy"
project_name = "toy"
kedro_init_version = "1.7.0"
source_dir = "src"
""",
    "src/toy/__init__.py": "",
    "src/toy/cli.py": "from razor_pipeline.cli import cli, run\n",
    "src/toy/settings.py": """
from razor_pipeline.hooks import MlflowHooks
from razor_pipeline.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS, DISABLE_HOOKS_FOR_PLUGINS

HOOKS = (MlflowHooks(),)
""",
    "src/toy/nodes.py": """
import io, os, signal
import numpy as np
import pandas as pd
import torch
from PIL import Image
from pydantic import Field
from razor_pipeline.datasets.files import ParquetDataset
from razor_pipeline.params.base import Params

class Inner(Params):
    depth: int = 3

class ToyParams(Params):
    rate: float = Field(default=0.5, ge=0, le=1)
    inner: Inner = Inner()
    fail: bool = False

def die_at(place):
    if os.environ.get("DIE_AT") == place:
        os.kill(os.getpid(), signal.SIGKILL)

class FragileParquetDataset(ParquetDataset):
    def write(self, data, path):
        super().write(data, path)
        die_at("saving")

def draw(seed: int, target: str):
    values = np.random.default_rng(seed).normal(size=5000)
    return pd.DataFrame({"value": values, "image_bytes": [b"x"] * 5000})

def search(numbers, toy: ToyParams):
    die_at("search")
    if toy.fail:
        raise ValueError("toy.fail is true; set it to false")
    steps = pd.DataFrame({"step": [0, 1, 2], "loss": numbers["value"][:3] * toy.rate, "stage": [*"aab"]})
    return steps, {"int8": {"w": torch.from_numpy(numbers["value"].to_numpy().copy())}}

def conclude(trace, model):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "navy").save(picture, "PNG")
    return {"stop_reason": "goal", "loss": float(trace["loss"].min()), "seed": 1}, picture.getvalue()
""",
    "src/toy/pipeline_registry.py": """
from kedro.pipeline import Node, Pipeline
from toy.nodes import conclude, draw, search

def register_pipelines():
    return {"__default__": Pipeline([
        Node(draw, ["params:seed", "params:target"], "numbers", name="draw"),
        Node(search, ["numbers", "params:toy"], ["trace", "model"], name="search"),
        Node(conclude, ["trace", "model"], ["summary", "picture"], name="conclude"),
    ])}
""",
    "conf/base/parameters.yml": "seed: 3\ntarget: Ada Moreau\nunused: 1\ntoy: {}\n",
    "conf/base/globals.yml": "model: {family: clip}\n",
    "conf/base/mlflow.yml": """
experiment: toy
artifact_limit_mb: 0.042
tags: {family: "${globals:model.family}"}
parameter_tags: [target]
""",
    "conf/base/catalog.yml": """
numbers:
  type: razor_pipeline.datasets.files.ParquetDataset
  filepath: data/numbers.parquet
  metadata: {mlflow: {input: true}}
trace:
  type: toy.nodes.FragileParquetDataset
  filepath: data/trace.parquet
  metadata: {mlflow: {steps: step}}
model:
  type: razor_pipeline.datasets.quantized.QuantizedModelsDataset
  filepath: data/model
  metadata: {mlflow: {model: true}}
summary:
  type: razor_pipeline.datasets.files.JSONDataset
  filepath: data/summary.json
  metadata: {mlflow: {metrics: true, tags: [stop_reason]}}
picture:
  type: razor_pipeline.datasets.files.BytesDataset
  filepath: data/picture.png
  metadata: {mlflow: {image: true}}
""",
}


def make_project(root: Path) -> Path:
    """Write the project."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "conf/local").mkdir()
    shutil.copy(HERE / "conf/logging.yml", root / "conf/logging.yml")
    return root


def kedro(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a real `kedro` process in the project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "KEDRO"))}
    environment = {**kept, "DO_NOT_TRACK": "1", "COLUMNS": "200", **variables}
    command = [sys.executable, "-m", "kedro", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def results(root: Path) -> dict[str, bytes]:
    """Every file that the steps wrote, without the runner's records."""
    files = (file for file in (root / "data").rglob("*") if file.is_file() and file.parent.name != ".done")
    return {str(file.relative_to(root)): file.read_bytes() for file in files}
