from __future__ import annotations

import asyncio

import pytest

from steerstream import SessionEnded, session
from steerstream.bridge.driver import Order, SimulatorError
from steerstream.testing import Drop, Fail, FakeServer, Reply, Skip
from tests.steerstream.bridge.driving import PICTURE, driving


async def test_an_order_is_the_road_wheels_angle_and_a_throttle_towards_the_speed():
    async with driving() as driver:
        order = await driver.order(PICTURE, 7.0)
    assert order.road_wheel_rad == pytest.approx(0.01)
    assert order.throttle == pytest.approx(0.2)


async def test_a_stated_speed_takes_the_place_of_the_network_s():
    async with driving(speed_mps=20.0) as driver:
        assert (await driver.order(PICTURE, 2.0)).throttle == 1.0


async def test_pictures_beyond_the_rate_keep_the_order_before():
    fake = FakeServer(lambda frame: Reply(0.148, speed_mps=8.0))
    async with driving(fake, rate_hz=0.001) as driver:
        first = await driver.order(PICTURE, 7.0)
        assert await driver.order(PICTURE, 3.0) is first
    assert [request.WhichOneof("message") for request in fake.received].count("frame") == 1


@pytest.mark.parametrize("reaction", [Skip(), Reply(is_damaged=True)])
async def test_the_vehicle_stops_while_there_is_nothing_to_follow(reaction):
    async with driving(FakeServer(lambda frame: reaction)) as driver:
        assert (await driver.order(PICTURE, 7.0)).throttle == -1.0
        assert (await driver.order(PICTURE, 0.1)).throttle == 0.0


async def test_a_vehicle_that_drives_again_after_it_was_stopped_is_stopped_again():
    """A person has driven it since, or its simulator was held."""
    async with driving(FakeServer(lambda frame: Skip())) as driver:
        assert (await driver.order(PICTURE, 7.0)).throttle == -1.0
        driver._braking_since_s -= 60.0
        assert (await driver.order(PICTURE, 7.0)).throttle == 0.0, "nobody knows what it does"
        driver._braking_since_s -= 60.0
        driver._braked_s -= 60.0
        assert (await driver.order(PICTURE, 7.0)).throttle == -1.0


async def test_a_picture_that_cannot_be_sent_is_said_and_stops_the_vehicle(capsys):
    async with driving() as driver:
        assert await driver.order(PICTURE, 1e6) == Order(0.0, -1.0)
    assert "steerstream bridge: vehicle_speed_mps must be" in capsys.readouterr().err


async def test_an_answer_that_does_not_come_stops_the_vehicle(monkeypatch):
    def times_out(*_arguments):
        return 0.0

    monkeypatch.setattr(session, "default_timeout_s", times_out)
    async with driving(FakeServer(lambda frame: Drop()), is_plain=True) as driver:
        assert (await driver.order(PICTURE, 7.0)).throttle == -1.0


async def test_a_session_that_ends_stops_the_vehicle_and_is_known():
    async with driving(FakeServer([Reply(0.148), Fail()]), is_plain=True) as driver:
        await driver.order(PICTURE, 7.0)
        order = await driver.order(PICTURE, 7.0)
        assert (order.road_wheel_rad, order.throttle) == (pytest.approx(0.01), -1.0)
        assert isinstance(driver.error, SessionEnded)
        ending = asyncio.create_task(driver.until_ended(asyncio.Event()))
        await driver.order(PICTURE, 5.0)
        assert not ending.done()
        await driver.order(PICTURE, 0.0)
        await ending


async def test_the_end_is_not_waited_for_where_no_simulator_is_connected():
    stop = asyncio.Event()
    stop.set()
    async with driving() as driver:
        await driver.until_ended(stop)
        assert (await driver.order(PICTURE, 7.0)).throttle == -1.0


async def test_what_was_seen_is_forgotten_at_a_restart():
    fake = FakeServer()
    async with driving(fake) as driver:
        await driver.restart()
        await driver.order(PICTURE, 7.0)
        await driver.restart()
        await driver.order(PICTURE, 7.0)
    kinds = [request.WhichOneof("message") for request in fake.received]
    assert kinds == ["open", "frame", "reset", "frame"]


async def test_complaints_end_after_twenty(capsys):
    async with driving() as driver:
        for _ in range(30):
            driver.complain(SimulatorError("no picture"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 20
    assert lines[-1] == "steerstream bridge: no picture; nothing more is said"
