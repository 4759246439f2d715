"""A streamed convolution is a 3-D convolution over a ring of frames."""

from __future__ import annotations

import pytest
import torch

from model_export.networks.parts.streamed import StreamedConvolution, memories


@pytest.mark.parametrize("frames", [2, 3, 4])
@torch.no_grad()
def test_it_equals_a_convolution_over_time(frames: int):
    torch.manual_seed(0)
    layer = StreamedConvolution((3, 5), frames, 4, 2, (12, 16))
    layer.slices.weight.normal_()
    layer.bias.normal_()
    window = torch.randn(2, 7, 3, 12, 16)
    outputs, _ = layer(window, torch.zeros(2, *layer.memory_shape))
    # Slice 0 is of the newest frame, a convolution's kernel begins with the oldest.
    kernel = layer.slices.weight.unflatten(0, (frames, 5)).permute(1, 2, 0, 3, 4).flip(2)
    past = torch.cat((torch.zeros(2, frames - 1, 3, 12, 16), window), dim=1).transpose(1, 2)
    whole = torch.nn.functional.conv3d(past, kernel, layer.bias.flatten(), stride=(1, 2, 2))
    torch.testing.assert_close(outputs, whole.transpose(1, 2), rtol=1e-4, atol=1e-4)
    assert outputs.shape[-2:] == layer.size


@torch.no_grad()
def test_it_starts_as_a_convolution_of_the_present_frame():
    layer = StreamedConvolution((3, 5), 3, 4, 2, (12, 16))
    window, memory = torch.randn(1, 4, 3, 12, 16), torch.zeros(1, *layer.memory_shape)
    alone, _ = layer(window[:, -1:], memory)
    assert alone.any()
    torch.testing.assert_close(layer(window, memory)[0][:, -1:], alone)


def test_a_stack_names_what_it_remembers():
    layers = [StreamedConvolution((3, 4), 3, 3, 1, (8, 9))]
    layers.append(StreamedConvolution((4, 2), 2, 3, 1, layers[0].size))
    first, second = memories(layers)
    assert (first.input, first.output, first.shape) == ("seen1", "seen1_next", (8, 6, 7))
    assert (second.input, second.shape) == ("seen2", (2, 4, 5))
    assert [first.kind, second.kind] == ["frame_ring", "feature_ring"]
