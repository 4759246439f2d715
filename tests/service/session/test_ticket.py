"""A session's state as bytes, and when a vehicle gets it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerstream_bundle import loading
from steerstream_service.config import Config
from steerstream_service.domain import Command, ControlValues, Limit, Timings, Validity
from steerstream_service.engine.host_stepper import HostStepper
from steerstream_service.engine.ring_length import ring_length
from steerstream_service.session.machine import MAX_REPLAYED
from steerstream_service.session.ticket import (
    MAX_SHARE,
    MAX_TICKET_BYTES,
    SessionState,
    TicketError,
    TicketSchedule,
    pack,
    state_bytes,
    ticket_bytes,
    unpack,
)
from tests.service import bundles

ROOT = Path(__file__).resolve().parents[3]
CONTRACT = bundles.contract()
NUMBERS = st.integers(0, 2**64 - 1)
HEADS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.builds(ControlValues, HEADS, HEADS, HEADS)
HELD = st.builds(
    Command,
    NUMBERS,
    NUMBERS,
    VALUES,
    VALUES,
    st.sets(st.sampled_from(Limit)).map(lambda limits: tuple(sorted(limits))),
    st.just(Validity.HELD),
    st.floats(0, 1e6),
    st.just(0),
    NUMBERS,
    NUMBERS,
    st.just(Timings(0, 0, 0, 0, 0)),
)
STATES = st.builds(
    SessionState,
    sequence_number=NUMBERS,
    capture_time_ns=NUMBERS,
    epoch=NUMBERS,
    step_count=NUMBERS,
    alive_counter=st.integers(0, 65_535),
    time_left_s=st.floats(0, 0.5),
    held=st.none() | HELD,
    tensors=st.binary(min_size=12, max_size=12),
)


@given(STATES)
def test_a_state_comes_back_as_it_was(state):
    packed = pack(state)
    assert unpack(packed, CONTRACT) == state
    assert len(packed) <= ticket_bytes(CONTRACT)


@given(STATES, st.integers(0, 400), st.binary(max_size=8))
def test_other_bytes_are_no_state(state, length, tail):
    packed = pack(state)
    cut = packed[:length] + tail
    if cut != packed and len(cut) != len(packed):
        with pytest.raises(TicketError):
            unpack(cut, CONTRACT)


RINGED = bundles.contract(state=(bundles.HIDDEN, bundles.RING))


@given(STATES, st.lists(NUMBERS, min_size=1, max_size=64))
def test_a_state_without_its_rings_names_their_frames(state, ring_frames):
    state = dataclasses.replace(state, ring_frames=tuple(ring_frames))
    packed = pack(state)
    assert unpack(packed, RINGED) == state
    assert len(packed) <= ticket_bytes(RINGED, len(ring_frames))
    with pytest.raises(TicketError):
        unpack(packed[:-1], RINGED)


def test_a_state_that_lacks_its_rings_and_their_frames_is_of_another_size():
    with pytest.raises(TicketError, match="not of this model's size"):
        unpack(pack(_state()), RINGED)


def test_another_version_is_named():
    packed = pack(_state())
    assert packed[0] == 1
    assert pack(dataclasses.replace(_state(), ring_frames=(1,)))[0] == 2
    with pytest.raises(TicketError, match="another version"):
        unpack(b"\x7f" + packed[1:], CONTRACT)


def _state():
    return SessionState(
        sequence_number=1,
        capture_time_ns=2,
        epoch=0,
        step_count=1,
        alive_counter=1,
        time_left_s=0.5,
        held=None,
        tensors=bytes(12),
    )


def test_the_size_is_that_of_all_tensors():
    two = bundles.contract(state=(bundles.HIDDEN, bundles.RING))
    assert state_bytes(two) == 4 * (3 + 12)
    assert state_bytes(two, with_rings=False) == 4 * 3
    assert state_bytes(bundles.contract(state=())) == 0


def test_a_ticket_comes_every_so_many_frames():
    schedule = TicketSchedule(3, 100)
    due = []
    for _ in range(9):
        schedule.received(10_000)
        due.append(schedule.is_due)
        if due[-1]:
            schedule.issued()
    assert due == [False, False, True] * 3


def test_a_large_state_comes_so_rarely_that_it_adds_little():
    size, picture, sent, received = 300_000, 30_000, 0, 0
    schedule = TicketSchedule(20, size)
    for _ in range(2000):
        schedule.received(picture)
        received += picture
        if schedule.is_due:
            sent += size
            schedule.issued()
    assert 0.8 * MAX_SHARE < sent / received <= MAX_SHARE


@pytest.mark.parametrize(("every", "expected"), [(20, 256), (300, 300)])
def test_a_large_state_comes_often_enough_for_a_vehicle_that_sends_views(every, expected):
    """Otherwise it would have to play more frames again than it may."""
    schedule = TicketSchedule(every, 450_000)
    frames = 0
    while not schedule.is_due:
        schedule.received(6_000)
        frames += 1
    assert frames == expected < MAX_REPLAYED


@pytest.mark.parametrize(("picture_bytes", "due"), [(1_999, False), (2_000, True)])
def test_a_ticket_is_due_when_it_is_a_twentieth_of_the_pictures(picture_bytes, due):
    schedule = TicketSchedule(1, 100)
    schedule.received(picture_bytes)
    assert schedule.is_due is due


def test_the_largest_ticket_has_a_mebibyte():
    schedule = TicketSchedule(1, 1_048_576)
    schedule.hurry()
    assert schedule.is_due
    assert MAX_TICKET_BYTES == 1_048_576


def test_a_session_that_is_about_to_end_gets_one_at_once():
    schedule = TicketSchedule(20, 1_000_000)
    schedule.hurry()
    assert schedule.is_due
    schedule.issued()
    assert not schedule.is_due


@pytest.mark.parametrize(
    "path", sorted((ROOT / "models").glob("*.onnx")), ids=lambda path: path.stem
)
def test_the_operator_s_table_says_what_each_bundle_takes(path):
    bundle, picture_bytes, rate_hz = loading.load(path), 35_000, 20
    contract = bundle.contract
    length = ring_length(HostStepper(bundle, sessions=1, buckets=[1]))
    size = ticket_bytes(contract, length)
    frames = max(Config().ticket_every_frames, math.ceil(size / MAX_SHARE / picture_bytes))
    row = (
        f"| `{contract.name}` | {length} | {size:,} | {frames} | {frames / rate_hz:.1f} s | "
        f"{size * rate_hz / frames / 1000:.1f} kB/s | "
        f"{100 * size / frames / picture_bytes:.1f} % | {ticket_bytes(contract):,} |"
    )
    assert row in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_a_state_that_no_server_would_take_makes_no_tickets():
    schedule = TicketSchedule(1, MAX_TICKET_BYTES + 1)
    schedule.received(1 << 30)
    schedule.hurry()
    assert not schedule.is_due


def test_without_an_interval_there_are_no_tickets():
    schedule = TicketSchedule(0, 0)
    schedule.received(1)
    schedule.hurry()
    assert not schedule.is_due
