"""Server processes: one that serves, and one that refuses to start."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "steerstream_service", *map(str, arguments)]


def refusal(*arguments: object) -> str:
    """The one line that a server that cannot start leaves on stderr."""
    result = subprocess.run(
        command("--listen", "127.0.0.1:0", "--log-level", "error", *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    return result.stderr


@contextlib.contextmanager
def process(*arguments: object, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address, stopped in the end however the test went."""
    port_file = folder / "port"
    server = subprocess.Popen(
        command(*arguments, "--listen", "127.0.0.1:0", "--port-file", port_file),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Its log is JSON lines; the port file is there before a server, or the last worker, serves.
        while json.loads(server.stderr.readline())["event"] != "serving":
            pass
        yield server, port_file.read_text().strip()
    finally:
        server.kill()
        server.communicate()
