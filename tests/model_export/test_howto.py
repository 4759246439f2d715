"""The worked example of docs/howto/add-a-network.md, taken from the page and run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from model_export.__main__ import main
from steerstream.testing.server_process import serve
from steerstream_simulation.command import main as simulate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "add-a-network.md"
SMALLER = {"steps = 600": "steps = 3", "roads = 20": "roads = 1", "seconds = 20.0": "seconds = 2.0"}
"""So that the example trains in seconds."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds `mine` with the page's two files; the present folder."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "strip_gru.py").write_text(blocks("python")[0])
    (text,) = blocks("toml")
    for long, short in SMALLER.items():
        assert text.count(long) == 1
        text = text.replace(long, short)
    (mine / "strip_gru.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def blocks(language: str) -> list[str]:
    """The page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def commands(*begin: str) -> list[list[str]]:
    """The arguments of the page's commands that begin with these words."""
    lines = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    return [words[len(begin) :] for words in lines if words[: len(begin)] == [*begin]]


def test_the_page_s_network_trains_exports_serves_and_drives(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    *made, measured = commands("python", "-m", "model_export")
    for arguments in made:
        assert main(arguments) == 0
    assert "500 frames of carried state" in capsys.readouterr().out
    measured[measured.index("--seconds") + 1] = "0.5"
    assert main([*measured, "--roads", "1"]) == 0
    assert "| 0 | 100 % |" in capsys.readouterr().out
    (served,), (drive,) = commands("steerstream", "serve"), commands("steerstream", "simulate")
    with serve(folder / served[served.index("--model") + 1]) as server:
        drive[drive.index("--target") + 1] = server.address
        drive[drive.index("--seconds") + 1] = "0.5"
        assert simulate(drive) == 0
    assert "of 10 frames" in capsys.readouterr().out


def test_the_page_installs_what_its_commands_need():
    """Training, the world, and a server with one flavour of ONNX Runtime; torch comes first."""
    torch, checkout = commands("pip", "install")
    assert torch == ["torch"]
    assert checkout == [".[cpu,sim,train]"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("mine.none", "is its folder on PYTHONPATH?"),
        ("mine", "no network 'mine'; there are: chauffeur, cnn3d"),
        ("os.path", "its module defines no NETWORK"),
    ],
)
def test_a_network_that_is_not_found_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str, message: str
):
    config = folder / "mine" / "strip_gru.toml"
    config.write_text(config.read_text().replace("mine.strip_gru", kind))
    assert main(commands("python", "-m", "model_export")[0]) == 2
    assert message in capsys.readouterr().err
