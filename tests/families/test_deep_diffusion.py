"""What is solved for in a denoiser: its prompt readers, from sums over what they are given."""

from __future__ import annotations

import pytest
import torch

from razor_pipeline.core.redirection import state_sums
from razor_pipeline.families import deep_diffusion

from .cases import CASES


@pytest.mark.parametrize(("name", "sources"), [("diffusion_deep", 1), ("diffusion3_deep", 2)])
def test_states_are_summed_once_for_all_readers_that_are_given_them(name, sources, monkeypatch):
    [case] = [case for case in CASES if case.name == name]
    model, made = case.build(), []

    def counted(*states):
        made.append(states)
        return state_sums(*states)

    monkeypatch.setattr(deep_diffusion, "state_sums", counted)
    readers = [c for c in model.components("matrix") if c.slices[0].parameter in model.readers()]
    asked = [("a cat image", "a dog image")], ["a hat", "a tree"], 1.0, 1.0
    found = model.solved(readers, *asked)
    assert len(made) == sources
    assert len(found) == len(readers) > 1
    for reader in readers:  # each as by itself
        [(key, change)] = model.solved([reader], *asked).items()
        assert torch.equal(found[key], change)
        assert change.any()


@pytest.mark.parametrize("name", ["diffusion_deep", "diffusion3_deep"])
def test_readers_are_solved_for_from_the_bases_however_often_they_were_edited(name):
    """So that what a line of edits keeps does not move away with each of them."""
    [case] = [case for case in CASES if case.name == name]
    model = case.build()
    readers = [c for c in model.components("matrix") if c.slices[0].parameter in model.readers()]
    parameters = dict(model.module.named_parameters())
    asked = [("a cat image", "a dog image")], ["a hat", "a tree"], 1.0, 1.0
    for change in (model.solved(readers, *asked), None):
        found = change or model.solved(readers, *asked)
        for part in (part for reader in readers for part in reader.slices):
            if change is None:
                assert found[part.key].abs().max() < 1e-6
            else:
                assert found[part.key].abs().max() > 1e-4  # control
                part.view(parameters[part.parameter]).add_(found[part.key])
