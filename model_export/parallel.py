"""The processes that train one network together, as `torchrun` starts them.

Each takes its share of every batch's rows. What depends on the whole batch is summed over the
processes: the count of labels that a loss divides by, the statistics of batch normalisation, the
gradients. So a step is that of one process over the whole batch, but for rounding and for the draws
of dropout.

A program that was started by itself is the first and only process: nothing here costs it anything.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model_export.errors import ModelExportError, ProcessError

_TIMEOUT = dt.timedelta(hours=2)
"""Longer than the first process prepares frames, drives or evaluates while the others wait."""


def asked_for() -> int:
    """Return how many processes `torchrun` says that it started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def asked_for_here() -> int:
    """Return how many of them it started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return this process's number on its machine: it takes the GPU of that number."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the other processes, if there are any, while the block runs.

    Args:
        device: what this process computes on; it decides how the processes talk.
    """
    if asked_for() == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Return whether this process is the one that evaluates, writes the run's folder and speaks."""
    return rank() == 0


def share() -> slice:
    """Return which rows of a batch are this process's: every `size()`-th, so of every source."""
    return slice(rank(), None, size())


def whole(parts: Sequence[Tensor]) -> Tensor:
    """Return all rows, of the shares of all processes in their order."""
    rows = sum(len(part) for part in parts)
    found = parts[0].new_empty((rows, *parts[0].shape[1:]))
    for number, part in enumerate(parts):
        found[number :: len(parts)] = part
    return found


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Let an error in the block, in any one process, end it in all of them with the same error."""
    error: Exception | None = None
    try:
        yield
    except (ModelExportError, OSError) as raised:
        error = raised
    found = (one for one in gathered(error) if one is not None)
    if error := next(found, None):
        raise error


@contextlib.contextmanager
def peers_needed() -> Iterator[None]:
    """Say in one line that another process is gone, where torch says so in its own words.

    Raises:
        ProcessError: it is.
    """
    try:
        yield
    except RuntimeError as error:
        if size() == 1 or isinstance(error, torch.OutOfMemoryError):
            raise
        raise ProcessError(
            "another process of this run ended, or the link to it broke; the same command goes on"
            " from the last checkpoint, with any number of processes"
        ) from error


def gathered(item: Any) -> list[Any]:  # noqa: ANN401 - whatever can be pickled
    """Return what every process gives, by their numbers."""
    if size() == 1:
        return [item]
    found: list[Any] = [None] * size()
    with peers_needed():
        dist.all_gather_object(found, item)
    return found


def from_first(item: Any) -> Any:  # noqa: ANN401 - whatever can be pickled
    """Return what the first process gives."""
    if size() == 1:
        return item
    found = [item]
    with peers_needed():
        dist.broadcast_object_list(found, src=0)
    return found[0]


def take_first_weights(network: nn.Module) -> None:
    """Give a network the weights and buffers of the first process's."""
    if size() > 1:
        with peers_needed():
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, src=0)


def summed(tensor: Tensor) -> Tensor:
    """Return the sum over the processes; gradients reach what each of them gave."""
    return cast("Tensor", _Sum.apply(tensor)) if size() > 1 else tensor  # type: ignore[no-untyped-call]


def sum_gradients(network: nn.Module) -> None:
    """Give every process the sum of the gradients of all.

    In one message after the backward pass: the networks have some hundred thousand weights, or a
    few million, so there is nothing to gain by sending the first while the last are at work, as
    `DistributedDataParallel` does, which averages besides.
    """
    if size() == 1:
        return
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    total = _all_reduced(torch.cat([gradient.flatten() for gradient in gradients]))
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, part in zip(gradients, torch.split(total, sizes), strict=True):
        gradient.copy_(part.view(gradient.shape))


class _Sum(torch.autograd.Function):
    """A sum over processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(_context: Any, tensor: Tensor) -> Tensor:  # noqa: ANN401 - torch's own
        return _all_reduced(tensor)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return _all_reduced(gradient)


def _all_reduced(tensor: Tensor) -> Tensor:
    total = tensor.clone(memory_format=torch.contiguous_format)
    with peers_needed():
        dist.all_reduce(total)
    return total
