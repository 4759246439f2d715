"""The commands and the code of docs/howto/bring-your-own-camera.md, taken from the page and run."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from steerstream import Action, SafeCommand
from steerstream.__main__ import main
from steerstream.testing.server_process import serve
from steerstream_simulation.command import main as simulate

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "howto" / "bring-your-own-camera.md").read_text(encoding="utf-8")
ADDRESS = "localhost:50051"


def block(language: str) -> str:
    """The page's only block of a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def arguments(begin: str, address: str) -> list[str]:
    """The arguments of the page's only command that begins so, for a server at this address."""
    (line,) = re.findall(rf"^{begin} (.*)$", PAGE, re.MULTILINE)
    return shlex.split(line.replace(ADDRESS, address))


@pytest.fixture(scope="module")
def server(bundle_path):
    with serve(bundle_path) as running:
        yield running


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The present folder, with the page's description of a camera and a few of its pictures."""
    (tmp_path / "camera.toml").write_text(block("toml"), encoding="utf-8")
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        picture = np.full((800, 1280, 3), 90 + number, np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.jpg"), picture)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_rendered_world_s_lens_is_the_page_s(server, capsys):
    words = arguments("steerstream simulate", server.address)
    words[words.index("--seconds") + 1] = "0.5"
    assert simulate(words) == 0
    assert "autonomy        100.00 %" in capsys.readouterr().out


def test_a_drive_with_the_page_s_camera(server, folder, capsys):
    words = arguments("steerstream drive", server.address)
    words[words.index("--source") + 1] = "pictures"
    assert main(["drive", *words, "--as-fast-as-possible", "--budget-ms", "1000"]) == 0
    assert "3" in capsys.readouterr().out


def test_a_camera_that_is_too_narrow_is_refused_as_the_page_says(server, folder, capsys):
    narrow = re.sub(r"fov_deg = .*", "fov_deg = 12.0", block("toml"))
    (folder / "camera.toml").write_text(narrow, encoding="utf-8")
    words = arguments("steerstream drive", server.address)
    words[words.index("--source") + 1] = "pictures"
    assert main(["drive", *words]) != 0
    error = capsys.readouterr().err
    assert "open.camera cannot be used with pilotnet_lstm: it does not show" in error
    assert "degrees across" in error


async def test_the_page_s_program_drives(server):
    namespace: dict[str, Any] = {}
    source = block("python").replace(ADDRESS, server.address)
    exec(compile(source, "the page", "exec"), namespace)
    told: list[SafeCommand] = []

    class Vehicle:
        def apply(self, safe: SafeCommand) -> None:
            told.append(safe)

    async def frames() -> AsyncIterator[np.ndarray]:
        for _ in range(3):
            yield np.full((800, 1280, 3), 90, np.uint8)

    await namespace["drive"](frames(), Vehicle())
    assert [safe.action for safe in told] == [Action.FOLLOW] * 3
