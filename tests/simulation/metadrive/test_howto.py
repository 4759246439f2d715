"""docs/howto/from-your-simulator.md in small: MetaDrive recorded, trained on, served, driven."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from model_export.__main__ import main
from steerstream.testing.server_process import serve

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "howto" / "from-your-simulator.md").read_text()
PYTHON = os.environ.get("STEERSTREAM_METADRIVE")
SMALLER = {"steps = 900": "steps = 3", "steps = 300": "steps = 3"}
STEERSTREAM = ".venv-metadrive/bin/steerstream "


def commands(begin: str) -> list[list[str]]:
    """The arguments of the page's commands that begin so."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line.removeprefix(begin)) for line in lines if line.startswith(begin)]


def bridge(folder: Path, *arguments: str) -> None:
    """Run the page's command in MetaDrive's environment."""
    paths = os.pathsep.join(str(ROOT / name) for name in ("", "simulation"))
    run = subprocess.run(
        [str(PYTHON), "-m", "steerstream", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not PYTHON, reason="needs MetaDrive: make bridge-test")
@pytest.mark.timeout(1800)
def test_the_page_s_way_from_a_recording_to_a_drive(tmp_path, monkeypatch):
    record, drive = commands(STEERSTREAM)
    record[record.index("--maps") + 1] = "1000..1001"
    bridge(tmp_path, *record, "--seconds", "3")
    labels = (tmp_path / "runs" / "metadrive" / "labels.csv").read_text().splitlines()
    assert len(labels) == 1 + 2 * 60
    (config,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for long, short in SMALLER.items():
        assert config.count(long) == 1
        config = config.replace(long, short)
    (tmp_path / "runs" / "metadrive.toml").write_text(config)
    monkeypatch.chdir(tmp_path)
    for arguments in commands("python -m model_export "):
        assert main(arguments) == 0
    (served,) = commands("steerstream serve ")
    with serve(tmp_path / served[served.index("--model") + 1]) as server:
        drive[drive.index("--target") + 1] = server.address
        drive[drive.index("--maps") + 1] = "0..1"
        bridge(tmp_path, *drive, "--seconds", "2", "--json", "out.json")
    result = json.loads((tmp_path / "out.json").read_text())
    assert [(item["seed"], item["frames"], item["commands"]) for item in result["maps"]] == [
        (0, 40, 40),
        (1, 40, 40),
    ]
