"""What the figure shows of a bundle is what its graph computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model_export.config import Config
from model_export.export.exporter import contract, write
from model_export.networks import build
from model_export.report.architecture import Architecture, Block, Memory, read
from model_export.report.diagram import draw
from model_export.run import Result
from tests.model_export.builders import configured
from tests.model_export.conftest import Exported

KINDS = {"pilotnet_lstm": "pilotnet_lstm_0", "komanda": "komanda_0", "chauffeur": "chauffeur_0"}
"""A network of each kind, by its name in `CASES`."""


@pytest.fixture(scope="module")
def found(exported: Callable[[str], Exported]) -> dict[str, Architecture]:
    """Networks of three kinds as bundles, read again."""
    return {kind: read(exported(name)[0]) for kind, name in KINDS.items()}


def test_blocks_have_the_shapes_and_the_way_of_the_network(found: dict[str, Architecture]):
    blocks = {block.name: block for block in found["pilotnet_lstm"].blocks}
    shapes = [layer.shape for layer in blocks["convolutions"].layers]
    assert [shape[0] for shape in shapes] == [24, 36, 48, 64, 64]
    assert shapes[-1] == (64, 1, 18)
    assert blocks["convolutions"].layers[0].what == "convolution 5x5 / 2"
    assert blocks["project"].feeds == ("convolutions",)
    assert blocks["project"].weights == 1152 * 8 + 8
    assert blocks["recurrence"].memories == (Memory("h", (6,)), Memory("c", (6,)))
    assert set(blocks["heads"].feeds) == {"project", "recurrence"}
    assert found["pilotnet_lstm"].last == ("heads",)


def test_parts_of_a_joined_tensor_feed_only_their_readers(found: dict[str, Architecture]):
    blocks = {block.name: block for block in found["chauffeur"].blocks}
    assert blocks["reduce"].feeds == ("trunk",)
    assert set(blocks["recurrence"].feeds) == {"project", "motions"}
    assert blocks["motions"].memories[0].name == "look"


def test_parts_of_a_split_tensor_feed_only_their_readers(exported: Callable[[str], Exported]):
    """The interval comes into features that are taken apart for it and put together again."""
    blocks = {block.name: block for block in read(exported("chauffeur_3")[0]).blocks}
    assert blocks["reduce"].feeds == ("trunk",)
    assert set(blocks["recurrence"].feeds) == {"project", "motions"}
    assert set(blocks["heads"].feeds) == {"project", "motions", "recurrence"}


def blocks_of(config: Config, path: Path) -> dict[str, Block]:
    """Export a network whose weights all differ, since a file keeps one of those that are equal."""
    network = build(config).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    result = Result(weights={}, sources=(), scores=(), training_mean=(0.0, 0.0, 0.0))
    write(network, contract(network, config, result, name="one"), path)
    return {block.name: block for block in read(path).blocks}


def test_members_are_one_block_with_the_layers_of_one(tiny: Config, tmp_path: Path):
    settings: dict[str, object] = {"blocks": 2, "hidden": 6, "features": 4, "channels": 3}
    one, three = (
        blocks_of(configured(tiny, "chauffeur", several), tmp_path / "chauffeur.onnx")
        for several in (settings, settings | {"members": 3})
    )
    assert list(one) == list(three)
    for name, block in three.items():
        copies = 1 if name in ("trunk", "motions") else 3
        assert (block.copies, block.weights) == (copies, copies * one[name].weights)
        assert (block.layers, block.feeds) == (one[name].layers, one[name].feeds)
    assert three["recurrence"].memories == (Memory("h", (18,)), Memory("c", (18,)))


def test_feedback_is_the_memory_of_what_gives_it(found: dict[str, Architecture]):
    blocks = {block.name: block for block in found["komanda"].blocks}
    assert [memory.name for memory in blocks["cell"].memories] == ["m", "c"]
    assert Memory("y", (3,)) in blocks["heads"].memories


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bundle_gives_the_same_picture(
    found: dict[str, Architecture], tmp_path: Path, kind: str
):
    pictures = [tmp_path / "first.svg", tmp_path / "second" / "first.svg"]
    pictures[1].parent.mkdir()
    for picture in pictures:
        draw(found[kind], picture)
    first, second = (picture.read_text() for picture in pictures)
    assert first == second
    for block in found[kind].blocks:
        assert f"<!-- {block.name.replace('_', ' ')} -->" in first
