"""Drive the ten unseen roads and print the README's table: ``python -m scripts.autonomy``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmark import machine
from benchmark.server_process import serve

ROOT = Path(__file__).resolve().parent.parent
SEEDS = range(10)
"""Evaluation seeds: the world keeps 0 to 99 out of all training."""


def main() -> int:
    """Drive all seeds through one server; return 1 where the vehicle left its lane."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "pilotnet_lstm.onnx")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each drive")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    print("| road | autonomy | lateral error, mean | largest | lane departures |")
    print("|---:|---:|---:|---:|---:|", flush=True)
    drives = []
    with serve(options.model) as target:
        for seed in SEEDS:
            drives.append(_drive(target, seed, options.seconds))
            print(_row(drives[-1]), flush=True)
    if options.json:
        report = {"benchmark": "autonomy", "machine": machine.describe(), "results": drives}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(any(drive["interventions"] for drive in drives))


def _drive(target: str, seed: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "drive.json"
        command = [sys.executable, "-m", "simulation", "drive", "--lock-step"]
        command += [f"--target={target}", f"--seed={seed}", f"--seconds={seconds}"]
        command += [f"--json={result}"]
        subprocess.run(  # noqa: S603 - our own module
            command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        drive: dict[str, Any] = json.loads(result.read_text())
    return drive


def _row(drive: dict[str, Any]) -> str:
    cells = [
        str(drive["seed"]),
        f"{drive['autonomy_percent']:.0f} %",
        f"{drive['lateral_error_mean_m']:.2f} m",
        f"{drive['lateral_error_max_m']:.2f} m",
        str(drive["lane_departures"]),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
