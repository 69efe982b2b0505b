"""How long a step took, also where it computes while its outputs are saved."""

import time
from collections.abc import Iterator

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from razor_pipeline.hooks import MlflowHooks
from razor_pipeline.runner import ResumingRunner


class Noted:
    """In the place of a run: what it was told."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def step_done(self, name: str, seconds: float) -> None:
        self.seconds[name] = seconds


class Slow(MemoryDataset):
    """Takes its time to be saved."""

    def save(self, data: object) -> None:
        time.sleep(0.2)
        super().save(data)


def several(number: int) -> Iterator[int]:
    for each in range(number):
        time.sleep(0.1)
        yield each


def one(number: int) -> int:
    return number


@pytest.mark.parametrize(
    ("function", "output", "least", "most"), [(several, "out", 0.3, 2.0), (one, "slow", 0.0, 0.1)]
)
def test_training_one_model_after_the_other_is_timed_and_saving_alone_is_not(function, output, least, most):
    hooks, manager = MlflowHooks(), _create_hook_manager()
    hooks._run = noted = Noted()
    manager.register(hooks)
    catalog = DataCatalog({"n": MemoryDataset(3), "out": MemoryDataset(), "slow": Slow()})
    ResumingRunner()._run(Pipeline([Node(function, "n", output, name="step")]), catalog, manager, "run")
    assert least <= noted.seconds["step"] < most
