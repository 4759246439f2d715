"""The systemd unit: systemd's own checks, and its command under its filters, driven."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

import steerstream
from steerstream_service import config
from tests.deploy import confined
from tests.deploy.tools import DEPLOY, ROOT, tool

UNIT = DEPLOY / "systemd/steerstream.service"
SETTINGS = DEPLOY / "server.toml"
GREY = np.full((66, 200, 3), 100, np.uint8)
AFTER_DRAIN_S = 5
"""To end what is left after a drain, with a margin."""


def seconds(name: str) -> float:
    (value,) = confined.settings(UNIT, name)
    return float(value)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit, with its command in a folder that exists."""
    program = tmp_path / "opt/bin/steerstream"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/steerstream", str(tmp_path / "opt")))
    return unit


def add(unit: Path, name: str) -> None:
    """Put an addition beside the unit."""
    folder = unit.with_name(f"{unit.name}.d")
    folder.mkdir()
    (folder / name).write_text((DEPLOY / "systemd" / name).read_text())


def verify(unit: Path) -> str:
    """What systemd has to say of a unit. Its exit code is 0 for an unknown setting too."""
    result = subprocess.run(
        [tool("systemd-analyze"), "verify", unit], capture_output=True, text=True, check=False
    )
    return result.stdout + result.stderr


def test_systemd_finds_nothing_wrong_with_the_unit(installed: Path) -> None:
    assert verify(installed) == ""


@pytest.mark.parametrize("name", ["gpu.conf", "keys.conf"])
def test_systemd_finds_nothing_wrong_with_an_addition(installed: Path, name: str) -> None:
    add(installed, name)
    assert verify(installed) == ""


def test_the_key_files_of_the_documents_are_read_by_a_group_that_the_unit_is_in() -> None:
    assert confined.settings(UNIT, "DynamicUser") == ["yes"], "no file can belong to its user"
    (group,) = confined.settings(DEPLOY / "systemd/keys.conf", "SupplementaryGroups")
    readme = (DEPLOY / "README.md").read_text()
    assert f"groupadd --system {group} " in readme
    assert f"install -m 640 -g {group} ticket.keys /etc/steerstream/keys/ticket.keys " in readme
    places = set(re.findall(r"/etc/steerstream/keys/[a-z.-]+", readme))
    assert places >= {f"/etc/steerstream/keys/{name}" for name in ("ticket.keys", "server.key")}


def test_a_misspelt_setting_would_be_found(installed: Path) -> None:
    installed.write_text(installed.read_text().replace("WatchdogSec", "WatchdogSecs"))
    assert "WatchdogSecs" in verify(installed)


def test_exposure_is_below_one_and_a_half(installed: Path) -> None:
    command = [
        tool("systemd-analyze"),
        "security",
        "--offline=yes",
        "--threshold=15",
        str(installed),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-200:]


def test_systemd_waits_for_the_whole_drain() -> None:
    settings = config.parse(SETTINGS.read_text())
    assert tomllib.loads(SETTINGS.read_text())["drain_s"] == settings.drain_s
    assert seconds("TimeoutStopSec") >= settings.drain_s + AFTER_DRAIN_S


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(place))
        self._socket.setblocking(False)

    async def heard(self) -> str:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            return (await loop.sock_recv(self._socket, 1024)).decode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    with contextlib.closing(Systemd(tmp_path / "notify")) as systemd:
        yield systemd


def unit_command(*more: str) -> list[str]:
    """The unit's command on free ports, with this checkout's server, settings and bundles."""
    text = UNIT.read_text().replace("\\\n", " ")
    line = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert line is not None
    program, *options = shlex.split(line[1])
    assert program == "/opt/steerstream/bin/steerstream"
    places = {
        "/opt/steerstream/models": str(ROOT / "models/pilotnet_lstm.onnx"),
        "/etc/steerstream/server.toml": str(SETTINGS),
        "${LISTEN}": "127.0.0.1:0",
        "${METRICS}": "127.0.0.1:0",
    }
    assert {name[2:-1] for name in places if name[0] == "$"} <= set(confined.environment(UNIT))
    assert set(places) <= set(options)
    # Without braces: systemd makes as many words of it as there are, and none by default.
    assert options.pop() == "$OPTIONS"
    assert confined.environment(UNIT)["OPTIONS"] == ""
    given = [places.get(option, option) for option in options]
    return [sys.executable, "-m", "steerstream", *given, *more]


@contextlib.asynccontextmanager
async def started(
    systemd: Systemd, port_file: Path, *more: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The unit's command under the unit's filters, told of systemd as systemd does it."""
    tool("systemd-analyze")
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, confined.__file__, str(UNIT)),
        *unit_command("--port-file", str(port_file), "--log-level", "error", *more),
        cwd=ROOT,
        env={
            **confined.environment(UNIT),
            "NOTIFY_SOCKET": str(systemd.place),
            "WATCHDOG_USEC": str(round(seconds("WatchdogSec") * 1e6)),
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.communicate()


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_units_command_serves_under_its_filters_and_tells_systemd(
    systemd: Systemd, tmp_path: Path, workers: int
) -> None:
    port_file = tmp_path / "port"
    async with started(systemd, port_file, "--workers", str(workers)) as server:
        assert await systemd.heard() == "READY=1"
        async with (
            steerstream.connect(port_file.read_text().strip()) as client,
            client.open_session(vehicle_id="car", budget_ms=10_000) as session,
        ):
            answers = [await session.request(GREY, timeout_s=20) for _ in range(5)]
        assert all(isinstance(answer, steerstream.Command) for answer in answers)
        # The first came with READY; this one only the event loop's timer can have sent.
        assert [await systemd.heard() for _ in range(2)] == ["WATCHDOG=1"] * 2
        server.terminate()
        while (state := await systemd.heard()) == "WATCHDOG=1":
            pass
        assert state == "STOPPING=1"
        assert await server.wait() == 0
        assert await server.stderr.read() == b""


def test_the_filters_let_a_thread_lower_its_priority() -> None:
    tool("systemd-analyze")
    program = "import os; os.setpriority(os.PRIO_PROCESS, 0, 19); print(os.nice(0))"
    result = subprocess.run(
        [sys.executable, confined.__file__, UNIT, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["19"]


def test_the_filters_refuse_what_no_server_does() -> None:
    tool("systemd-analyze")
    program = """
import mmap, os, socket
for call in (
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    lambda: socket.socket(socket.AF_NETLINK),
    lambda: os.chroot("/"),
    lambda: os.sched_setaffinity(0, {0}),
):
    try:
        call()
    except PermissionError:
        print("refused")
"""
    result = subprocess.run(
        [sys.executable, confined.__file__, UNIT, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["refused"] * 4
