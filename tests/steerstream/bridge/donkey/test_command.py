from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time

import pytest

from steerstream.testing import FakeServer, Reply
from tests.steerstream.bridge.donkey import simulator as words
from tests.steerstream.bridge.driving import PICTURE
from tests.steerstream.command_lines import command_line


def interrupt(frame):
    if frame.sequence_number == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return Reply(0.1)


def play(connection: socket.socket, brakes: list[str]) -> None:
    """Ask for orders, and stand as soon as the brake is told."""
    simulator, speed = words.Simulator(connection), "7{}25"
    while True:
        try:
            said = simulator.ask(words.telemetry(PICTURE, ",", speed))
        except ConnectionError:
            break
        if not said:
            break
        brakes += [part["brake"] for part in _objects(said)]
        speed = "0" if brakes[-1] == "1.000000" else speed
    simulator.close()


def _objects(text: str) -> list[dict]:
    return json.loads("[" + text.replace("}{", "},{") + "]")


@pytest.mark.parametrize("listens", [True, False])
def test_either_side_may_listen_and_ctrl_c_stops_the_vehicle(listens, tmp_path):
    brakes: list[str] = []
    out = tmp_path / "out.json"
    with socket.socket() as simulator:
        simulator.bind(("127.0.0.1", 0))
        port = simulator.getsockname()[1]
        if listens:
            simulator.listen()
            thread = threading.Thread(target=lambda: play(simulator.accept()[0], brakes))
        else:
            simulator.close()
            thread = threading.Thread(target=lambda: play(_connected(port), brakes))
        with command_line(FakeServer(interrupt)) as run:
            thread.start()
            side = "--simulator" if listens else "--listen"
            code = run(
                "bridge", "donkey", side, f"127.0.0.1:{port}", "--rate-hz", 1000, "--json", out
            )
            thread.join()
    assert code == 130
    assert "1.000000" in brakes
    result = json.loads(out.read_text())
    assert (result["source"], result["frames"]) == ("donkey", result["commands"])


def test_a_simulator_that_leaves_ends_the_bridge():
    with socket.socket() as simulator:
        simulator.bind(("127.0.0.1", 0))
        simulator.listen()
        port = simulator.getsockname()[1]

        def leave() -> None:
            connection, _ = simulator.accept()
            words.Simulator(connection).ask(words.telemetry(PICTURE))
            connection.close()

        thread = threading.Thread(target=leave)
        thread.start()
        with command_line() as run:
            assert run("bridge", "donkey", "--simulator", f"127.0.0.1:{port}") == 0
        thread.join()


def test_no_simulator_and_an_address_that_is_taken_are_one_line_each(capsys):
    with socket.socket() as taken, command_line() as run:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run("bridge", "donkey", "--simulator", address) == 2
        assert "start it, or give --listen" in capsys.readouterr().err
        taken.listen()
        assert run("bridge", "donkey", "--listen", address) == 2
        assert "choose another --listen" in capsys.readouterr().err


def _connected(port: int) -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)
