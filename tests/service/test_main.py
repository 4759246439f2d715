"""`python -m steerstream_service` is the command `steerstream serve`."""

from __future__ import annotations

import subprocess
import sys


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "steerstream_service", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.startswith("usage: steerstream serve ")
