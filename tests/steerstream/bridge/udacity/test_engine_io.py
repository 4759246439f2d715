from __future__ import annotations

import json

import pytest

from steerstream.bridge.driver import SimulatorError
from steerstream.bridge.udacity import engine_io


def test_the_opening_names_the_session_and_its_pings():
    packet = engine_io.opening("abc")
    assert packet[0] == "0"
    assert json.loads(packet[1:]) == {
        "sid": "abc",
        "upgrades": [],
        "pingInterval": 25_000,
        "pingTimeout": 60_000,
    }


@pytest.mark.parametrize(("packet", "pong"), [("2", "3"), ("2probe", "3probe"), ("40", None)])
def test_a_ping_is_answered_with_what_it_carries(packet, pong):
    assert engine_io.reply(packet) == pong


@pytest.mark.parametrize("packet", ["1", "41", "41/namespace"])
def test_packets_that_end_a_connection(packet):
    assert engine_io.is_end(packet)
    assert not engine_io.is_end("42" + packet)


@pytest.mark.parametrize(
    ("packet", "event"),
    [
        ('42["telemetry",{"speed":"1.0000"}]', ("telemetry", {"speed": "1.0000"})),
        ('427["telemetry",{}]', ("telemetry", {})),
        ('42["open"]', ("open", None)),
        ("3", None),
    ],
)
def test_events_are_read(packet, event):
    assert engine_io.read_event(packet) == event


@pytest.mark.parametrize("packet", ["42", '42["telemetry",{', "42[]", "42{}", "42[1,2]", "42null"])
def test_an_event_that_cannot_be_read_is_said(packet):
    with pytest.raises(SimulatorError, match="event"):
        engine_io.read_event(packet)


def test_an_event_is_written_as_socket_io_does():
    assert engine_io.event("manual", {}) == '42["manual",{}]'
