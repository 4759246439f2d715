"""What a run computes on: processor or GPU, and the processes that prepare its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from model_export import parallel
from model_export.errors import ProcessError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What a run computes on; nothing but rounding and dropout's draws depends on it.

    Attributes:
        device: where the network is.
        loaders: processes that decode, render and augment frames; with 0 the training does.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    loaders: int = 0


def device_named(name: str) -> torch.device:
    """Return the device that a name stands for, and set it up.

    Args:
        name: `cpu`, `cuda`, or `auto`: a GPU where there is one.

    Raises:
        ProcessError: there is no GPU, or not one for each process.
    """
    found = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not found):
        return torch.device("cpu")
    if not found:
        raise ProcessError("torch sees no GPU: install its CUDA build, or train with --device cpu")
    if parallel.asked_for_here() > found:
        raise ProcessError(
            f"more processes than GPUs: start at most {found} on this machine, or use --device cpu"
        )
    device = torch.device("cuda", parallel.local_rank())
    torch.cuda.set_device(device)
    # TF32: 10 bits of precision in products, far below what the labels have in noise.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return device
