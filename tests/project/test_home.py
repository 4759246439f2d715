"""Nothing that this project runs leaves anything in the home directory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.test_repository import ROOT, tracked_files
from tests.service.processes import process

USERS = sorted(
    str(path.relative_to(ROOT).with_suffix(""))
    for path in tracked_files()
    if path.suffix == ".py"
    and path.relative_to(ROOT).parts[0] not in {"tests", "findings"}
    and re.search(r"^(import|from) onnxruntime", path.read_text(), re.MULTILINE)
)
"""All modules that import ONNX Runtime, which since 1.29 keeps a telemetry database there."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, and no variable by which dependencies tell a test from a user."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in [name for name in os.environ if name == "CI" or name.startswith(("XDG_", "ORT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_modules_that_import_it_are_found():
    assert "bundle/steerstream_bundle/runtime" in USERS


@pytest.mark.parametrize("module", USERS)
def test_an_import_leaves_nothing(module, home):
    name = re.sub(r"^(bundle|service|simulation)/", "", module).replace("/", ".")
    result = subprocess.run(
        [sys.executable, "-c", f"import {name}"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr.decode()
    assert list(home.iterdir()) == []


def test_a_server_leaves_nothing(home, tmp_path):
    with process(folder=tmp_path) as (server, _):
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    assert [path for path in Path(home).rglob("*") if path.is_file()] == []
