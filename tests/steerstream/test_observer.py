from __future__ import annotations

import pytest

import steerstream
from steerstream import BadRequest
from steerstream.observer import IGNORED, LegObserver, SessionObserver
from steerstream.testing import FakeServer

EVENTS = [name for name in vars(SessionObserver) if not name.startswith("_")]


class Noting(SessionObserver):
    """Notes the names of all events."""

    def __init__(self):
        self.events = []
        for name in EVENTS:
            setattr(self, name, lambda *args, name=name: self.events.append(name))


async def test_a_session_tells_what_happens_in_the_order_in_which_it_does():
    observer = Noting()
    async with (
        steerstream.connect("fake", transport=FakeServer().transport()) as client,
        client.open_session(vehicle_id="car", observer=observer) as session,
    ):
        await session.request(b"a picture")
        await session.reset()
        session.safe_command()
    assert observer.events == ["opened", "frame_sent", "answered", "reset", "told", "ended"]


async def test_without_an_observer_nothing_is_told():
    async with (
        steerstream.connect("fake", transport=FakeServer().transport()) as client,
        client.open_session(vehicle_id="car") as session,
    ):
        assert session._observer is IGNORED
        for name in EVENTS:
            assert getattr(IGNORED, name)(*range(len_of(name))) is None


def len_of(name):
    return getattr(SessionObserver, name).__code__.co_argcount - 1


@pytest.mark.parametrize("name", EVENTS)
def test_a_leg_tells_what_it_alone_knows(name):
    observer = Noting()
    getattr(LegObserver(observer), name)(*range(len_of(name)))
    assert observer.events == [name] * (name in {"opened", "noticed"})


def test_what_is_no_observer_is_refused():
    client = steerstream.connect("fake", transport=FakeServer().transport())
    with pytest.raises(BadRequest, match="observer must be"):
        client.open_session(vehicle_id="car", observer=print)  # type: ignore[arg-type]
