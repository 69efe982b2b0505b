"""One pass in several processes: the sums of one process, whatever the shares, and an end for all when one fails."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from razor_pipeline.core.curvature import recording_inputs
from razor_pipeline.core.gradients import NonFiniteError, mean_gradients
from razor_pipeline.core.processes import StoppedError, joined, one_of_several, own_share

TIMEOUT = 20.0
ROWS = torch.randn(23, 6, generator=torch.Generator().manual_seed(1))


def in_processes(count, work, folder):
    """What ``work(number)`` returned or raised in each of ``count`` processes that joined one group."""
    context = multiprocessing.get_context("fork")
    store = f"{os.getpid()}_{time.monotonic_ns()}"

    def run(number):
        os.environ |= {"RANK": str(number), "WORLD_SIZE": str(count), "LOCAL_RANK": "0"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        try:
            with joined(TIMEOUT):
                found = work(number)
        except Exception as error:
            found = error
        torch.save(found, folder / f"{store}_{number}.pt")

    port = _free_port()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # of forking beside threads, which stand still here
        workers = [context.Process(target=run, args=(number,)) for number in range(count)]
        for worker in workers:
            worker.start()
    for worker in workers:
        worker.join(4 * TIMEOUT)
        assert worker.exitcode is not None, "a process did not end"
    files = [folder / f"{store}_{number}.pt" for number in range(count)]
    return [torch.load(file, weights_only=False) if file.exists() else None for file in files]


def _free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def a_pass(rows=ROWS, size=4, spoil=None):
    """Gradients, loss and covariances of one pass; ``spoil(batch)`` may change a batch's loss."""
    network = model()
    parameters = dict(network.named_parameters())

    def loss_of(batch):
        loss = network(batch).exp().square().mean() * len(batch)  # not additive: who is with whom counts
        return loss if spoil is None else spoil(loss, batch)

    with recording_inputs(network, parameters) as covariances:
        found = mean_gradients(loss_of, rows.split(size), parameters, "retain")
    return found.tensors, found.loss, covariances


def difference(one, other):
    """The largest relative difference of any tensor."""
    return max(float((one[name] - other[name]).norm() / one[name].norm()) for name in one)


def test_alone_no_group_is_made():
    a_pass()
    assert not one_of_several()
    assert not dist.is_initialized()
    batches = [1, 2, 3]
    assert own_share(batches) is batches


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_sums_are_those_of_one_process(count, tmp_path):
    gradients, loss, covariances = a_pass()
    for found in in_processes(count, lambda _: a_pass(), tmp_path):
        assert difference(gradients, found[0]) < 1e-6
        assert found[1] == pytest.approx(loss, rel=1e-6)
        assert difference(covariances, found[2]) < 1e-6
        assert all(tensor.dtype == torch.float32 for tensor in found[0].values())


def test_control_the_last_and_smaller_batch_counts():
    """23 rows in batches of four are six batches: of four processes two have one batch, and the last one is short."""
    gradients, *_ = a_pass()
    assert difference(gradients, a_pass(ROWS[:20])[0]) > 1e-3
    assert difference(gradients, a_pass(size=5)[0]) > 1e-3


def test_processes_without_a_batch_add_nothing(tmp_path):
    few = ROWS[:7]
    gradients, *_ = a_pass(few)
    for found in in_processes(4, lambda _: a_pass(few), tmp_path):
        assert difference(gradients, found[0]) < 1e-6


def test_nan_in_one_process_stops_all_and_is_named(tmp_path):
    def spoiled(loss, batch):
        return loss * torch.nan if torch.equal(batch, ROWS[4:8]) else loss

    first, second = in_processes(2, lambda _: a_pass(spoil=spoiled), tmp_path)
    assert isinstance(second, NonFiniteError)
    assert "the retain loss is nan" in str(second)
    assert isinstance(first, StoppedError)
    assert "process 1: the retain loss is nan" in str(first)


def test_a_gradient_of_nan_names_its_parameter_in_every_process(tmp_path):
    def spoiled(loss, batch):
        return (loss * 0).sqrt() + loss if torch.equal(batch, ROWS[4:8]) else loss

    for error in in_processes(2, lambda _: a_pass(spoil=spoiled), tmp_path):
        assert isinstance(error, NonFiniteError)
        assert "the retain gradient of '0.weight' has NaN" in str(error)


def test_a_killed_process_ends_the_others_in_time(tmp_path):
    def dying(number):
        def spoiled(loss, _):
            if number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return loss

        return a_pass(spoil=spoiled)

    start = time.monotonic()
    first, second = in_processes(2, dying, tmp_path)
    assert second is None
    assert isinstance(first, StoppedError)
    assert "another process is gone" in str(first)
    assert time.monotonic() - start < 2 * TIMEOUT


def test_batches_that_cannot_be_shared_are_refused(tmp_path: Path):
    def streaming(_):
        return mean_gradients(lambda b: b.mean(), iter(ROWS.split(4)), {"w": nn.Parameter(ROWS[0])}, "retain")

    for error in in_processes(2, streaming, tmp_path):
        assert isinstance(error, TypeError)
