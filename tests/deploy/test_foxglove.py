"""The layout for Foxglove names what a recording really holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from steerstream import SkipReason
from steerstream.recording import FlightRecorder
from steerstream.testing import FakeServer, Reply, Skip
from tests.conftest import ROOT
from tests.steerstream.recording.drives import drive, driving, records

LAYOUT = json.loads((ROOT / "deploy" / "foxglove" / "steerstream.json").read_text())


def named(value: Any) -> Iterator[str]:
    """All topics, and paths to fields, of a part of the layout."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key in {"imageTopic", "topicPath", "value"}:
            yield item
        elif isinstance(item, dict | list):
            yield from named(item)


def panels(layout: Any) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
    else:
        yield from panels(layout["first"])
        yield from panels(layout["second"])


@pytest.fixture
async def found(tmp_path) -> dict[str, Any]:
    """The messages of a recording as any reader decodes them, one a topic."""
    decoders = pytest.importorskip("mcap_protobuf.decoder")
    fake = FakeServer(lambda frame: Skip(SkipReason.LATE) if frame.sequence_number else Reply(0.1))
    path = tmp_path / "a.mcap"
    async with FlightRecorder(path) as recorder, driving(recorder, fake) as session:
        await drive(session, 1)
        session.safe_command()
        await drive(session, 1, first=1)
    decode = decoders.DecoderFactory()
    return {
        record.channel.topic: decode.decoder_for("protobuf", record.schema)(record.message.data)
        for record in records(path)[0]
    }


async def test_every_topic_and_field_of_the_layout_is_in_a_recording(found):
    paths = list(named(LAYOUT["configById"]))
    assert len(paths) >= 15
    for path in paths:
        topic, *fields = path.split(".")
        assert topic in found, path
        message = found[topic]
        for field in fields:
            assert field in message.DESCRIPTOR.fields_by_name, path
            message = getattr(message, field)


def test_every_panel_is_laid_out_once():
    shown = list(panels(LAYOUT["layout"]))
    assert sorted(shown) == sorted(LAYOUT["configById"])
