"""`python -m steerstream_service`, the process of `steerstream serve`, before its imports."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys

import pytest

from tests.service import bundles
from tests.service.processes import ROOT, TIMEOUT_S, command, wait_until_serving


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "steerstream_service", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.startswith("usage: steerstream serve ")


@pytest.mark.parametrize("module", ["grpc", "onnxruntime"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_imports_with_0(tmp_path, module, number):
    """An import that takes long: the first one, and one behind the command line."""
    (tmp_path / f"{module}.py").write_text(
        "import time\nprint('imports', flush=True)\nwhile True: time.sleep(0.01)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    server = subprocess.Popen(
        command("--listen", "127.0.0.1:0"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout.readline() == "imports\n"
        server.send_signal(number)
        _, said = server.communicate(timeout=TIMEOUT_S)
    finally:
        server.kill()
    assert (server.returncode, said) == (0, "")


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_a_server_with_closed_descriptors_serves_and_stops(tmp_path, closed):
    tiny = bundles.recurrent(tmp_path / "tiny.onnx")
    address = f"unix:{tmp_path / 'socket'}"
    given = shlex.join(command("--model", tiny, "--listen", address))
    server = subprocess.Popen(["/bin/sh", "-c", f"exec {given} {closed}"], cwd=ROOT)
    try:
        wait_until_serving(address)
        server.send_signal(signal.SIGTERM)
        assert server.wait(TIMEOUT_S) == 0
    finally:
        server.kill()
        server.wait()
