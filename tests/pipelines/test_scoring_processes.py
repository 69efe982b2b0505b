"""The scoring step started in real processes by torch.distributed.run: one result, or none and the reason."""

from __future__ import annotations

import os
import threading
import time

import psutil
import pytest
import torch
from families.cases import tiny_clip
from methods.test_processes import PARAMS, few_samples

from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.methods.saved_scores import scoring_result
from razor_pipeline.pipelines.scoring.nodes import score_components
from razor_pipeline.pipelines.scoring.processes import GRADIENTS, REPORT, ProcessesError, command

WORKER = "razor_pipeline.pipelines.scoring.processes"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "clip"
    tiny_clip().save_pretrained(folder)
    return PretrainedDataset(family="clip", source=str(folder)).load()


def in_two(folder, **razor):
    scoring = PARAMS.scoring.model_copy(update={"processes": 2, "process_folder": str(folder)})
    return PARAMS.model_copy(update={"scoring": scoring, **razor})


def workers():
    """The processes of a pass that this one started, without their launcher."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if WORKER in line and "torch.distributed.run" not in line:
            found.append(process)
    return found


def test_the_step_in_two_processes_gives_what_it_gives_in_one(model, tmp_path):
    table, gradients, _ = scoring_result(model, few_samples(), PARAMS, 0, {})
    found = score_components(model, few_samples(), {}, in_two(tmp_path), 0)
    assert list(found[0]["component"]) == list(table["component"])
    assert gradients.keys() == found[1].keys()
    for name, tensor in gradients.items():
        assert float((tensor - found[1][name]).norm()) <= 1e-6 * float(tensor.norm())
    assert not torch.distributed.is_initialized()


def test_a_killed_process_ends_the_step_and_nothing_is_written(model, tmp_path):
    def kill():
        while len(workers()) < 2:
            time.sleep(0.05)
        workers()[1].kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(ProcessesError, match=r"was killed or did not answer.*nothing was written"):
        score_components(model, few_samples(), {}, in_two(tmp_path), 0)
    killer.join()
    assert not (tmp_path / REPORT).exists()
    assert not (tmp_path / GRADIENTS).exists()
    assert workers() == []


def test_several_machines_are_torchs_own_business(tmp_path, monkeypatch):
    params = in_two(tmp_path).scoring
    assert "--standalone" in command(tmp_path, params)
    monkeypatch.setitem(os.environ, "PET_NNODES", "2")
    assert "--standalone" not in command(tmp_path, params)
