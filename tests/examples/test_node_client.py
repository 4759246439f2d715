"""The client for Node.js, which knows the schema and docs/protocol.md alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from steerstream import Validity
from steerstream.testing import Fail, FakeServer, Reply, Skip
from steerstream.testing.script import Reaction
from tests.steerstream.command_lines import served

CLIENT = Path(__file__).resolve().parents[2] / "examples" / "node_client.mjs"
MODULES = os.environ.get("STEERSTREAM_NODE_MODULES", "")

pytestmark = pytest.mark.skipif(
    not MODULES or shutil.which("node") is None,
    reason="needs node, @grpc/grpc-js and @grpc/proto-loader: make bridge-test",
)


def run(target, tmp_path, pictures):
    names = [tmp_path / f"{number}.jpg" for number in range(pictures)]
    for name in names:
        name.write_bytes(b"\xff\xd8 a picture")
    return subprocess.run(
        ["node", CLIENT, target, *names],
        capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "NODE_PATH": MODULES},
    )  # fmt: skip


def test_it_follows_what_is_sound_and_holds_at_all_else(tmp_path):
    script: list[Reaction] = [
        Skip(detail="none yet"),
        Reply(0.1),
        Reply(0.2, is_stuck=True),
        Reply(0.3, is_damaged=True),
        Reply(0.4, validity=Validity.HELD),
        Skip(detail="too late"),
        Reply(None, None, 1.5),
    ]
    fake = FakeServer(script)
    with served(fake) as target:
        result = run(target, tmp_path, len(script))
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    expected = ["none yet", "", "alive counter", "checksum", "validity", "too late", ""]
    assert len(lines) == len(expected)
    for line, reason in zip(lines, expected, strict=True):
        assert reason in line
    # Which action it is depends on how fast this machine is, but never whose values are followed.
    assert lines[0].split()[0] == "RELEASE"
    for line in lines[1:6]:
        assert line.split()[0] == "RELEASE" or line.split()[1:3] == ["0.1", "10"]
    frames = [request.frame for request in fake.received if request.HasField("frame")]
    assert [frame.sequence_number for frame in frames] == list(range(len(script)))
    assert all(frame.jpeg == b"\xff\xd8 a picture" for frame in frames)


def test_a_session_that_ends_is_an_error_with_its_reason(tmp_path):
    with served(FakeServer([Fail(message="gone")])) as target:
        result = run(target, tmp_path, 1)
    assert result.returncode == 1
    assert "gone" in result.stderr
