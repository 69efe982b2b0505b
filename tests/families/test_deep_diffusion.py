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
