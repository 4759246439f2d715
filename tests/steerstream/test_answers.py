from __future__ import annotations

import dataclasses
import math

import pytest

from steerstream import Limit, SkipReason, TicketIssued, Validity
from tests.steerstream.values import command, skipped


@pytest.mark.parametrize("kind", [Limit, Validity, SkipReason])
def test_a_value_of_a_newer_server_is_read_as_unspecified(kind):
    assert kind(99) is kind.UNSPECIFIED


def test_a_ticket_is_shown_without_its_sealed_bytes():
    shown = repr(TicketIssued(b"sealed" * 100, 7, 60_000, replay_from=3))
    assert shown == "TicketIssued(600 bytes, sequence_number=7, valid_for_ms=60000, replay_from=3)"


def test_round_trips_go_by_the_clients_clock():
    assert command(0, 30.0, received_ms=42.0).round_trip_ms == 12.0
    assert skipped(0, 30.0).round_trip_ms == 8.0


@pytest.mark.parametrize(
    ("changes", "is_fresh"),
    [
        ({}, True),
        ({"validity": Validity.WARMING_UP}, True),
        ({"validity": Validity.HELD}, False),
        ({"validity": Validity.FALLBACK}, False),
        ({"checksum_ok": False}, False),
    ],
)
def test_a_command_is_fresh_if_it_is_of_its_frame_and_undamaged(changes, is_fresh):
    answer = command(0, 0.0, age_ms=40.0, **changes)
    assert answer.is_fresh is is_fresh
    assert answer.age_at_ms(15_000_000) == (15.0 if is_fresh else 55.0)


@pytest.mark.parametrize("age_ms", [math.nan, -1.0, -math.inf, math.inf])
def test_a_held_command_whose_age_is_none_is_too_old_for_all(age_ms):
    held = command(0, 0.0, age_ms=age_ms, validity=Validity.HELD)
    assert held.age_at_ms(0) == math.inf


def test_answers_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        command(0, 0.0).age_ms = 0.0  # type: ignore[misc]
