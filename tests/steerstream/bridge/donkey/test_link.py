from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket

import pytest

from steerstream.bridge.donkey import command
from steerstream.bridge.donkey import link as links
from steerstream.bridge.donkey.link import Link
from steerstream.errors import BadRequest
from steerstream.testing import FakeServer
from steerstream.watch.place import place
from tests.steerstream.bridge.donkey import simulator as words
from tests.steerstream.bridge.driving import PICTURE, driving

CONTROL = {
    "msg_type": "control",
    "steering": "-0.035810",
    "throttle": "0.150000",
    "brake": "0.000000",
}


@contextlib.asynccontextmanager
async def linked(fake: FakeServer | None = None, *, scene="", fov_deg=None):
    """Yields a function that asks as the simulator does, and the task of the bridge."""
    ours, theirs = socket.socketpair()
    simulator = words.Simulator(theirs)
    reader, writer = await asyncio.open_connection(sock=ours)
    async with driving(fake) as driver:
        link = Link(driver, scene=scene, fov_deg=fov_deg)
        task = asyncio.create_task(link.converse(reader, writer))

        async def ask(text: str) -> dict:
            return json.loads(await asyncio.to_thread(simulator.ask, text))

        try:
            yield ask, simulator, task
        finally:
            simulator.close()
            await asyncio.wait([task])


async def test_from_the_menu_to_the_first_order():
    async with linked(scene="warehouse", fov_deg=53.0) as (ask, simulator, _):
        assert await ask(words.READY) == {"msg_type": "get_scene_names"}
        assert await ask(words.SCENES) == {"msg_type": "load_scene", "scene_name": "warehouse"}
        simulator.say(words.LOADED)
        camera = await ask(words.telemetry(PICTURE))
        assert camera["msg_type"] == "cam_config"
        assert (camera["img_w"], camera["img_h"]) == ("320", "240")
        assert float(camera["fov"]) == pytest.approx(41.0, abs=0.01)
        assert await ask(words.telemetry(PICTURE)) == CONTROL


async def test_a_machine_with_decimal_commas_drives_alike():
    async with linked() as (ask, _, _):
        assert await ask(words.telemetry(PICTURE, ",")) == CONTROL


async def test_the_first_scene_is_loaded_and_the_camera_left_where_nothing_is_stated():
    async with linked() as (ask, simulator, _):
        assert (await ask(words.SCENES))["scene_name"] == "generated_road"
        simulator.say(words.LOADED)
        assert "fov" not in await ask(words.telemetry(PICTURE))


async def test_broken_messages_stop_the_vehicle_and_the_drive_goes_on(capsys):
    async with linked() as (ask, _, _):
        assert await ask(words.telemetry(PICTURE)) == CONTROL
        half = words.telemetry(PICTURE)[:100]
        for broken in (half + "\n", '{"speed":1}\n', words.telemetry(PICTURE, speed="NaN")):
            assert (await ask(broken))["brake"] == "1.000000"
        assert (await ask(words.telemetry(PICTURE)))["brake"] == "0.000000"
    assert len(capsys.readouterr().err.splitlines()) == 3


async def test_a_simulator_that_falls_silent_is_told_to_stop_once(monkeypatch, capsys):
    monkeypatch.setattr(links, "SILENT_S", 0.2)
    async with linked() as (ask, simulator, _):
        await ask(words.telemetry(PICTURE))
        simulator.say(words.telemetry(PICTURE)[:100])
        told = json.loads(await asyncio.to_thread(simulator.hear))
        assert told == {**CONTROL, "throttle": "0.000000", "brake": "1.000000"}
        await asyncio.sleep(1.0)
        assert (await ask(words.telemetry(PICTURE)[100:]))["brake"] == "0.000000"
    assert "sends nothing" in capsys.readouterr().err


async def test_other_messages_do_not_hide_that_a_simulator_has_fallen_silent(monkeypatch):
    monkeypatch.setattr(links, "SILENT_S", 0.2)
    async with linked() as (ask, simulator, _):
        await ask(words.telemetry(PICTURE))
        told = asyncio.create_task(asyncio.to_thread(simulator.hear))
        while not told.done():
            simulator.say('{"msg_type": "tick"}')
            await asyncio.sleep(0.01)
        assert json.loads(told.result())["brake"] == "1.000000"


async def test_a_connection_that_is_lost_in_a_message_ends_it_and_the_state():
    fake = FakeServer()
    async with linked(fake) as (ask, simulator, task):
        await ask(words.telemetry(PICTURE))
        simulator.say(words.telemetry(PICTURE)[:100])
        simulator.close()
        await asyncio.wait_for(task, 10.0)


async def test_an_unknown_scene_ends_the_bridge_with_the_names_of_the_others():
    async with linked(scene="moon") as (_, simulator, task):
        simulator.say(words.SCENES)
        with pytest.raises(BadRequest, match="there are: generated_road, warehouse"):
            await asyncio.wait_for(task, 10.0)


async def test_the_vehicle_is_told_to_stop_when_the_bridge_ends():
    async with linked() as (ask, simulator, task):
        await ask(words.telemetry(PICTURE))
        task.cancel()
        await asyncio.wait([task])
        last = json.loads(await asyncio.to_thread(simulator.hear))
        assert last == {**CONTROL, "throttle": "0.000000", "brake": "1.000000"}


async def test_simulators_are_served_one_after_the_other(capsys):
    """One waits for its turn, and more are sent away, so that none drives another's vehicle."""
    async with driving() as found:
        link = Link(found, scene="", fov_deg=None)
        serving = asyncio.create_task(command._accept(link, place("127.0.0.1:0")))
        said = ""
        async with asyncio.timeout(30):
            while not (port := re.search(r":(\d+)$", said.strip())):
                await asyncio.sleep(0.01)
                said += capsys.readouterr().out
            ends = []
            for number in range(3):
                ends.append(await asyncio.open_connection("127.0.0.1", int(port[1])))
                if number == 0:
                    ends[0][1].write(words.telemetry(PICTURE).encode())
                    assert b"control" in await ends[0][0].read(1000)
            (_, first), (reader, second), (third, _) = ends
            assert await third.read() == b""
            second.write(words.telemetry(PICTURE).encode())
            first.close()
            assert b"control" in await reader.read(1000)
        serving.cancel()
        for _, writer in ends:
            writer.close()
