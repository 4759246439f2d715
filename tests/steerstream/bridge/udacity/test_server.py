"""The exchange is that of npm `socket.io-client` 2.5.0, recorded on 30 November 2026."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
from pathlib import Path

import aiohttp
import pytest

from steerstream.bridge import driver
from steerstream.bridge.udacity import server
from steerstream.bridge.udacity.server import serve
from steerstream.errors import SteerstreamError
from steerstream.testing import FakeServer, Reply
from tests.steerstream.bridge.driving import PICTURE, driving

IMAGE = base64.b64encode(PICTURE).decode()
TELEMETRY = (
    '42["telemetry",{"steering_angle":"-1.2345","throttle":"0.1000","speed":"12.5000",'
    f'"image":"{IMAGE}"}}]'
)
GERMAN = (
    '42["telemetry",{"steering_angle":"-1,2345","throttle":"0,1000","speed":"12,5000",'
    f'"image":"{IMAGE}"}}]'
)
MANUAL = '42["telemetry",{}]'
STEER = '42["steer",{"steering_angle":"-0.022918","throttle":"0.482400"}]'
STOP = '42["steer",{"steering_angle":"0.000000","throttle":"0.000000"}]'
CLIENT = Path(__file__).with_name("socket_io_client.cjs")
MODULES = os.environ.get("STEERSTREAM_NODE_MODULES")


@contextlib.asynccontextmanager
async def simulator(fake: FakeServer | None = None):
    """Yields a connected WebSocket, past the opening."""
    async with driving(fake) as found, serve(found, "127.0.0.1", 0) as port:
        address = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        async with aiohttp.ClientSession() as client, client.ws_connect(address) as socket:
            opening = await socket.receive_str()
            assert opening.startswith('0{"sid":')
            assert await socket.receive_str() == "40"
            yield socket


async def test_the_recorded_exchange():
    fake = FakeServer(lambda frame: Reply(0.148, speed_mps=8.0))
    async with simulator(fake) as socket:
        for said, answer in [
            (TELEMETRY, STEER),
            (TELEMETRY, STEER),
            (MANUAL, '42["manual",{}]'),
            (GERMAN, STEER.replace(".", ",")),
            ("2", "3"),
        ]:
            await socket.send_str(said)
            assert await socket.receive_str() == answer
        await socket.send_str("41")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    kinds = [request.WhichOneof("message") for request in fake.received]
    assert kinds == ["open", "frame", "frame", "reset", "frame"]
    assert fake.received[1].frame.vehicle_speed_mps == pytest.approx(5.588)


async def test_broken_telemetry_is_answered_with_a_stop_and_the_drive_goes_on(capsys):
    async with simulator() as socket:
        for said in ['42["telemetry",{"sp', TELEMETRY.replace("12.5000", "NaN")]:
            await socket.send_str(said)
            assert await socket.receive_str() == STOP
        await socket.send_str(TELEMETRY)
        assert await socket.receive_str() == STEER
        await socket.send_str(TELEMETRY.replace("12.5000", "∞"))
        assert json.loads((await socket.receive_str())[2:])[1]["throttle"] == "-1.000000"
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert errors[1] == "steerstream bridge: speed is no number: 'NaN'"


async def test_a_message_of_any_size_ends_the_link_with_a_line(capsys):
    async with simulator() as socket:
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            await socket.send_str("42" + "x" * (6 << 20))
            await socket.receive()
        said = ""
        async with asyncio.timeout(10.0):
            while "the link broke" not in said:
                await asyncio.sleep(0.01)
                said += capsys.readouterr().err


async def test_other_events_and_binary_messages_need_no_answer():
    async with simulator() as socket:
        await socket.send_str('42["hello",{}]')
        await socket.send_str("2probe")
        assert await socket.receive_str() == "3probe"
        await socket.send_bytes(b"\x04")
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_a_simulator_that_falls_silent_is_told_to_stop_until_it_must_stand(
    monkeypatch, capsys
):
    monkeypatch.setattr(server, "SILENT_S", 0.2)
    monkeypatch.setattr(server, "_STOPPING_S", 0.02)
    monkeypatch.setattr(driver, "_LONGEST_STOP_S", 0.1)
    async with simulator() as socket:
        await socket.send_str(TELEMETRY)
        assert await socket.receive_str() == STEER
        throttles = []
        while not throttles or throttles[-1] != "0.000000":
            throttles.append(json.loads((await socket.receive_str())[2:])[1]["throttle"])
        assert set(throttles[:-1]) == {"-1.000000"}, "a brake becomes reverse, so it is let go"
        await socket.send_str(TELEMETRY)
        assert await socket.receive_str() == STEER, "it drives on"
    assert capsys.readouterr().err.count("sends nothing") == 1


async def test_pings_do_not_hide_that_a_simulator_has_fallen_silent(monkeypatch):
    monkeypatch.setattr(server, "SILENT_S", 0.2)
    async with simulator() as socket:
        await socket.send_str(TELEMETRY)
        assert await socket.receive_str() == STEER
        said = "3"
        while said == "3":
            await socket.send_str("2")
            said = await socket.receive_str()
    assert json.loads(said[2:])[1]["throttle"] == "-1.000000"


async def test_where_a_person_drives_silence_stops_nothing(monkeypatch):
    monkeypatch.setattr(server, "SILENT_S", 0.05)
    async with simulator() as socket:
        await socket.send_str(TELEMETRY)
        await socket.send_str(MANUAL)
        while await socket.receive_str() != '42["manual",{}]':
            pass
        await asyncio.sleep(0.3)
        await socket.send_str("2")
        assert await socket.receive_str() == "3"


async def test_a_simulator_that_is_gone_without_a_word_makes_room_for_another(monkeypatch):
    monkeypatch.setattr(server, "_LONGEST_SILENCE_S", 0.1)
    async with simulator() as socket:
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_long_polling_and_a_second_simulator_are_refused():
    async with driving() as found, serve(found, "127.0.0.1", 0) as port:
        address = f"http://127.0.0.1:{port}/socket.io/?EIO=3&transport="
        async with aiohttp.ClientSession() as client:
            async with client.get(address + "polling") as response:
                assert response.status == 400
            async with (
                client.ws_connect(address + "websocket"),
                client.get(address + "websocket") as response,
            ):
                assert response.status == 503


async def test_an_address_that_is_taken_is_said():
    async with driving() as found, serve(found, "127.0.0.1", 0) as port:
        with pytest.raises(SteerstreamError, match="choose another --listen"):
            async with serve(found, "127.0.0.1", port):
                pass


@pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="needs node and socket.io-client: make bridge-test",
)
@pytest.mark.parametrize(("culture", "decimal"), [("en", "."), ("de", ","), ("fr", ",")])
async def test_the_third_party_client_drives(culture, decimal, tmp_path):
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(PICTURE)
    async with driving() as found, serve(found, "127.0.0.1", 0) as port:
        node = await asyncio.create_subprocess_exec(
            "node", CLIENT, str(port), picture, "4", culture,
            env={**os.environ, "NODE_PATH": str(MODULES)}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, _ = await node.communicate()
    steer = json.loads(STEER.replace(".", decimal)[2:])[1]
    assert json.loads(said) == [steer, steer, "manual", steer]
