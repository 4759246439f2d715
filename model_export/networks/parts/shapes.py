"""Windows [B, T, ...] through modules that know only batches [N, ...]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor


def framewise(function: Callable[[Tensor], Tensor], windows: Tensor) -> Tensor:
    """Apply a function of [N, ...] to every frame of windows [B, T, ...]."""
    flat = function(windows.flatten(0, 1))
    return flat.reshape(*windows.shape[:2], *flat.shape[1:])


def folded(windows: Tensor, shape: Sequence[int]) -> Tensor:
    """Return flat features [..., F] in a shape of as many elements: [..., *shape]."""
    return windows.reshape(*windows.shape[:-1], *shape)
