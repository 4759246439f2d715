"""Three-dimensional convolution over frames that come one by one.

A convolution over the last K frames is a sum: what each frame contributes by itself. So instead of
the frames, a stream has to remember only what they already contribute to outputs that are still to
come: each frame is convolved once, and the memory is as small as the layer's output. It equals a
convolution over a ring of the last K frames (VALID in time and space), in which frames before the
first are zero.

A layer starts as a convolution of the present frame alone, as inflated ones do (arXiv 1705.07750),
so that what single frames taught it is not drowned when the frames before come in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model_export.networks.parts.convolutions import framewise
from steerstream_bundle.contract import StateKind, StateTensor


class StreamedConvolution(nn.Module):
    """Convolution with kernel [frames, kernel, kernel] and stride [1, stride, stride].

    Args:
        channels: in and out.
        frames: the kernel's extent in time, 2 or more.
        kernel: its extent in space.
        stride: in space.
        size: height and width of the input.

    Attributes:
        size: height and width of the output.
        memory_shape: of what is carried from frame to frame: [(frames - 1) * out, height, width].
    """

    def __init__(
        self,
        channels: tuple[int, int],
        frames: int,
        kernel: int,
        stride: int,
        size: tuple[int, int],
    ) -> None:
        super().__init__()
        taken, self._channels = channels
        # Slices of the kernel side by side: what a frame gives now, to the next, and so on.
        self.slices = nn.Conv2d(taken, frames * self._channels, kernel, stride, bias=False)
        self.bias = nn.Parameter(torch.zeros(self._channels, 1, 1))
        height, width = ((extent - kernel) // stride + 1 for extent in size)
        self.size = (height, width)
        self.memory_shape = ((frames - 1) * self._channels, height, width)
        fan_in = taken * frames * kernel * kernel
        nn.init.normal_(self.slices.weight, std=(2 / fan_in) ** 0.5)
        nn.init.zeros_(self.slices.weight[self._channels :])

    def forward(self, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Go on over a window.

        Args:
            inputs: [B, T, channels, height, width].
            memory: [B, *memory_shape], zero where a stream begins.

        Returns:
            Outputs [B, T, out, height', width'], and the memory after the last frame.
        """
        return self.gather(self.spread(inputs), memory)

    def spread(self, inputs: Tensor) -> Tensor:
        """Return what each frame contributes by itself: [B, T, frames * out, height', width']."""
        return framewise(self.slices, inputs)

    def gather(self, parts: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Add the contributions up as they come; see `forward`."""
        width, outputs = self._channels, []
        for part in parts.unbind(1):
            outputs.append(part[:, :width] + memory[:, :width])
            memory = self._shifted(memory, part[:, width:])
        return torch.stack(outputs, dim=1) + self.bias, memory

    def _shifted(self, memory: Tensor, later: Tensor) -> Tensor:
        width = self._channels
        if memory.shape[1] == width:
            return later
        return torch.cat((memory[:, width:] + later[:, :-width], later[:, -width:]), dim=1)


def memories(layers: Sequence[StreamedConvolution]) -> tuple[StateTensor, ...]:
    """Return what a stack remembers, as a bundle's contract states it: `seen1` and so on."""
    kinds = [StateKind.FRAME_RING] + [StateKind.FEATURE_RING] * (len(layers) - 1)
    return tuple(
        StateTensor(input=name, output=f"{name}_next", shape=layer.memory_shape, kind=kind)
        for name, layer, kind in zip(
            (f"seen{index}" for index in range(1, len(layers) + 1)), layers, kinds, strict=True
        )
    )
