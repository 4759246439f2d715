from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading

import aiohttp

from steerstream.testing import FakeServer, Reply
from tests.steerstream.bridge.udacity.test_server import TELEMETRY
from tests.steerstream.command_lines import command_line


def test_ctrl_c_stops_the_vehicle_and_ends_with_the_report(tmp_path, capsys):
    def interrupt(frame):
        if frame.sequence_number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return Reply(0.1)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    throttles: list[str] = []
    simulator = threading.Thread(target=_drive, args=(port, throttles))
    out = tmp_path / "out.json"
    with command_line(FakeServer(interrupt)) as run:
        simulator.start()
        code = run(
            "bridge", "udacity", "--listen", f"127.0.0.1:{port}", "--rate-hz", 1000,
            "--fov-deg", 60, "--json", out,
        )  # fmt: skip
        simulator.join()
    assert code == 130
    assert throttles[-1] == "0.000000"
    assert "-1.000000" in throttles
    result = json.loads(out.read_text())
    assert (result["source"], result["frames"]) == ("udacity", result["commands"])
    assert f"Waiting for the simulator at 127.0.0.1:{port}" in capsys.readouterr().out


def test_an_address_that_is_taken_is_one_line(capsys):
    with socket.socket() as taken, command_line() as run:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run("bridge", "udacity", "--listen", f"127.0.0.1:{port}") == 2
    assert "choose another --listen" in capsys.readouterr().err


def _drive(port: int, throttles: list[str]) -> None:
    """Play the simulator: ask for orders, and stand as soon as the brake is told."""
    address = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"

    async def play() -> None:
        async with aiohttp.ClientSession() as client:
            while True:
                try:
                    link = await client.ws_connect(address)
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
            telemetry = TELEMETRY
            async with link:
                await link.receive_str(), await link.receive_str()
                while not throttles or throttles[-1] != "0.000000":
                    await link.send_str(telemetry)
                    throttles.append(json.loads((await link.receive_str())[2:])[1]["throttle"])
                    if throttles[-1] == "-1.000000":
                        telemetry = TELEMETRY.replace("12.5000", "0.0000")

    asyncio.run(play())
