"""The options of a session: their defaults, and those that do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from steerstream import BadRequest, Bounds, FramePolicy, Guard, TicketIssued
from steerstream.opening import Opening
from steerstream.v1 import session_pb2


def test_a_vehicle_s_name_alone_gets_the_defaults():
    opening = Opening.of({"vehicle_id": "car"})
    assert opening.request.open == session_pb2.OpenSession(
        vehicle_id="car", budget_ms=50.0, frame_policy=session_pb2.FRAME_POLICY_LATEST
    )
    assert opening.is_live


@pytest.mark.parametrize(
    ("options", "max_horizon_ms", "is_wanted"),
    [
        ({}, 500.0, True),
        ({}, 0.0, False),
        ({"horizon": None}, 0.0, False),
        ({"horizon": True}, 0.0, True),
        ({"horizon": False}, 500.0, False),
    ],
)
def test_a_horizon_is_wanted_where_the_guard_plays_it(options, max_horizon_ms, is_wanted):
    guard = Guard(Bounds(max_horizon_ms=max_horizon_ms))
    chosen: Any = {"vehicle_id": "car", "guard": guard, **options}
    opening = Opening.of(chosen)
    assert opening.request.open.without_horizon is not is_wanted
    assert opening.with_ticket(None).request.open.without_horizon is not is_wanted


def test_a_recording_is_not_live():
    assert not Opening.of({"vehicle_id": "car", "frame_policy": FramePolicy.EVERY}).is_live
    assert Opening.of(
        {"vehicle_id": "car", "frame_policy": FramePolicy.EVERY, "live": True}
    ).is_live


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a vehicle_id"),
        ({"vehicle_id": "car", "budget": 5}, "a session has no option budget; it has vehicle_id,"),
        ({"vehicle_id": "car", "ticket": b""}, "no option ticket; it has .*, horizon, on_change$"),
    ],
)
def test_an_option_that_is_missing_or_unknown_is_named(options, message):
    with pytest.raises(TypeError, match=message):
        Opening.of(options, others=("on_change",))


ISSUED = TicketIssued(b"sealed", 7, 60_000)


@pytest.mark.parametrize(
    ("ticket", "sealed", "issued"),
    [(None, b"", None), (b"sealed", b"sealed", None), (ISSUED, b"sealed", ISSUED)],
)
def test_a_ticket_is_sent_sealed_and_known_where_more_is_given_than_its_bytes(
    ticket, sealed, issued
):
    opening = Opening.of({"vehicle_id": "car"}, ticket)
    assert opening.request.open.ticket == sealed
    assert opening.ticket == issued


def test_a_ticket_whose_frames_must_be_played_again_is_refused():
    with pytest.raises(BadRequest, match="ticket is of a drive session"):
        Opening.of({"vehicle_id": "car"}, TicketIssued(b"sealed", 7, 60_000, replay_from=3))


@pytest.mark.parametrize(
    "name", ["live", "camera", "guard", "observer", "acting", "horizon", "frame_policy"]
)
def test_an_option_of_another_type_is_named(name):
    options: Any = {"vehicle_id": "car", name: 5}
    with pytest.raises(BadRequest, match=name):
        Opening.of(options)


def test_a_leg_says_that_it_plays_frames_again_and_has_a_guard_of_its_own():
    guard = Guard()
    whole = Opening.of({"vehicle_id": "car", "guard": guard})
    leg = whole.with_ticket(b"sealed")
    assert (leg.request.open.ticket, leg.request.open.replays_rings) == (b"sealed", True)
    assert not whole.request.open.replays_rings
    assert leg.guard is not guard
    assert leg.guard.bounds == guard.bounds
    assert not leg.is_live
