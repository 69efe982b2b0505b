"""One pass over the data in several processes: each takes its share of the batches, and sums are added up.

Every process runs the same code on the same rows in the same order and takes every n-th batch, so that a batch is what
it is in one process, which a contrastive loss depends on; only who computes it differs. Sums are added in float64.
Where no process group was joined, nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

B = TypeVar("B")


class StoppedError(RuntimeError):
    """Another process of the pass has failed or is gone."""


@contextmanager
def joined(timeout_seconds: float) -> Iterator[int]:
    """Be one of the processes that ``torch.distributed.run`` started; yields the number of this one.

    Tensors on a GPU are added by nccl, those on a CPU by gloo.

    Args:
        timeout_seconds: how long to wait for another process before it counts as gone.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()


def one_of_several() -> bool:
    """Whether this is one of several processes."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """How many processes share a pass, on all machines."""
    return dist.get_world_size() if one_of_several() else 1


def own_share(batches: Iterable[B]) -> Iterable[B]:
    """Every n-th batch, beginning with this process's own number; all of them where there is one process."""
    if not one_of_several():
        return batches
    if not isinstance(batches, Sequence):
        raise TypeError(
            f"a pass in several processes needs a sequence of batches, not {type(batches).__name__}"
        )
    return batches[dist.get_rank() :: dist.get_world_size()]


def zero_sum(like: Tensor) -> Tensor:
    """Zeros to add to: float64 where sums of several processes are to be added."""
    return torch.zeros_like(like, dtype=torch.float64 if one_of_several() else like.dtype)


def added(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor's sum over all processes, in its own dtype.

    Raises:
        StoppedError: another process is gone.
    """
    if not one_of_several():
        return dict(tensors)
    found = {}
    for name, tensor in tensors.items():
        total = tensor.double()
        with _others():
            dist.all_reduce(total)
        found[name] = total.to(tensor.dtype)
    return found


def added_numbers(*numbers: float) -> list[float]:
    """Each number's sum over all processes.

    Raises:
        StoppedError: another process is gone.
    """
    return (
        added({"": torch.tensor(numbers, dtype=torch.float64)})[""].tolist()
        if one_of_several()
        else list(numbers)
    )


@contextmanager
def stopping_together() -> Iterator[None]:
    """What stops one process inside this block stops all of them at its end.

    Raises:
        StoppedError: another process failed, or is gone; names it and what it said.
    """
    if not one_of_several():
        yield
        return
    error: Exception | None = None
    try:
        yield
    except Exception as caught:  # the others wait for this process, whatever happened
        error = caught
    said: list[Any] = [None] * dist.get_world_size()
    with _others():
        dist.all_gather_object(said, None if error is None else str(error))
    if error is not None:
        raise error
    failed = [f"process {number}: {text}" for number, text in enumerate(said) if text is not None]
    if failed:
        raise StoppedError(failed[0])


@contextmanager
def _others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo and nccl raise it for a closed connection and for a timeout alike
        raise StoppedError(f"another process is gone or does not answer ({error})") from error
