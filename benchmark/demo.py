"""Start the server, drive an unseen road through it, and leave figures, a video and a picture.

`make demo` runs this. In a second act the vehicle drives on two servers, and the one that answers
is killed in a bend. With `--data` it also replays the held-out part of the real drive.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.live_page import live_page
from reports import machine
from steerstream import Bounds, whole_file
from steerstream.command_line import CANNOT_START, INTERRUPTED, Parser, sigterm_interrupts
from steerstream.testing.server_process import ServerFailedError, serve

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "models" / "pilotnet_lstm.onnx"
SEED = 7
"""An evaluation seed: the world keeps 0 to 99 out of all training."""

SECONDS = 60
KILL_SECONDS = 16
"""The road's sharpest bend of the first quarter minute comes after 11 s."""
BUDGET_MS = 50
MOST_LATE = 0.02
"""The share of frames over their budget that a drive bears without a remark."""

WATCHED = ["--watch-pictures"]
PICTURES = ("drive.png", "kill.png")
REAL_DRIVE = Path("udacity_ch2_hmb3") / "labels.csv"


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def main() -> int:
    """Run the demo; return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument(
        "--images", type=Path, help="folder that gets a copy of the pictures, such as docs/images"
    )
    parser.add_argument("--data", type=Path, help="folder with the driving data, to replay it too")
    options = parser.parse_args()
    try:
        with sigterm_interrupts():
            summary = run(options.out, options.data)
    except (DemoError, BenchmarkError, ServerFailedError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return CANNOT_START
    except KeyboardInterrupt:
        return INTERRUPTED
    for remark in (release_remark(summary["drive"]), late_remark(summary["drive"])):
        if remark is not None:
            print(f"\n{remark}")
    path = options.out / "summary.json"
    whole_file.write_json(path, summary)
    if options.images is not None:
        for name in PICTURES:
            shutil.copyfile(options.out / name, options.images / name)
    names = [str(options.out / name) for name in ("drive.mp4", *PICTURES)]
    print(f"\nSee {path}, {', '.join(names)}.")
    return 0


def run(out: Path, data: Path | None) -> dict[str, Any]:
    """Drive, and replay where there is data; return the summary, ready for JSON.

    Raises:
        DemoError: a part failed, or the data is not where it was said to be.
        ServerFailedError: the server did not start.
    """
    labels = None if data is None else data / REAL_DRIVE
    if labels is not None and not labels.is_file():
        raise DemoError(f"no {labels}: --data names the folder that holds {REAL_DRIVE.parent}")
    out.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {"machine": machine.describe()}
    print(f"Starting the server with {BUNDLE.relative_to(ROOT)}")
    with (
        serve(BUNDLE, options=WATCHED) as server,
        live_page(server.address) as page,
        tempfile.TemporaryDirectory() as folder,
    ):
        print(
            f"Driving {SECONDS} s on road {SEED}, which no training saw, through {server.address}"
        )
        print(f"Watch it at {page.url} while it drives\n")
        summary["drive"] = _drive(server.address, out, Path(folder))
        if labels is not None:
            print("\nReplaying the real drive's held-out blocks as fast as they are answered\n")
            summary["replay"] = _replay(server.address, labels, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        summary["kill"] = _kill(out, Path(folder))
    return summary


def late_remark(drive: dict[str, Any]) -> str | None:
    """Return what to say of a drive whose frames were late; None where they were in time.

    Args:
        drive: the drive's report.
    """
    late = drive["frames_over_budget"] / drive["frames"]
    if late <= MOST_LATE:
        return None
    return (
        f"{late:.0%} of the frames had no command in {drive['budget_ms']:g} ms, because this "
        "machine is slow or busy. The\nroad, the server and the live page take about two cores: "
        "close other programs, and try again."
    )


def release_remark(drive: dict[str, Any]) -> str | None:
    """Return what to say of a drive whose guard let go; None where it never did.

    Args:
        drive: the drive's report.
    """
    if not drive["releases"]:
        return None
    bounds = Bounds()
    most = round(bounds.max_lost_fraction * bounds.lost_window_frames)
    return (
        f"The vehicle's guard let go for {drive['guard']['released_s']:.1f} s, and the vehicle "
        "kept its last values: no good answer\n"
        f"had come for {bounds.max_hold_ms / 1e3:g} s, or more than {most} of "
        f"{bounds.lost_window_frames} frames were lost, which only {bounds.recovery_frames} good "
        "answers in a row\nend. A driver would have taken over."
    )


def _drive(target: str, out: Path, folder: Path) -> dict[str, object]:
    return _simulate(
        folder / "drive.json",
        f"--target={target}",
        f"--seconds={SECONDS}",
        f"--save={out / 'drive.mp4'}",
        f"--plot={out / 'drive.png'}",
    )


def _kill(out: Path, folder: Path) -> object:
    """Drive on two servers, and kill the one that answers in a bend."""
    keys = folder / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"demo = {base64.b64encode(os.urandom(32)).decode()}\n")
    # Each server would choose the precision that is quicker as it starts, and a ticket is of one.
    settings = {"ticket_keys": str(keys), "precision": "f32"}
    print("\nStarting two servers, which share a key for tickets")
    with (
        serve(BUNDLE, settings=settings, options=WATCHED) as first,
        serve(BUNDLE, settings=settings, options=WATCHED) as second,
        live_page(first.address, second.address) as page,
    ):
        print(f"Driving {KILL_SECONDS} s on the same road; the server that answers dies in a bend")
        print(f"Watch it at {page.url} while it drives\n")
        drive = _simulate(
            folder / "kill.json",
            f"--target={first.address}",
            f"--target={second.address}",
            f"--seconds={KILL_SECONDS}",
            f"--kill={first.pid}",
            f"--kill={second.pid}",
            f"--plot={out / 'kill.png'}",
        )
    killed = drive["server_killed"]
    if killed is None:
        raise DemoError("the vehicle did not come to the bend in which the server is killed")
    return killed


def _simulate(result: Path, *arguments: str) -> dict[str, object]:
    return _steerstream(
        result,
        "simulate",
        "drive",
        "--real-time",
        f"--seed={SEED}",
        f"--budget-ms={BUDGET_MS}",
        *arguments,
    )


def _replay(target: str, labels: Path, folder: Path) -> dict[str, object]:
    return _steerstream(
        folder / "replay.json",
        "drive",
        "--as-fast-as-possible",
        f"--target={target}",
        f"--source={labels.parent}",
        f"--labels={labels}",
        "--split=validation",
    )


def _steerstream(result: Path, *arguments: str) -> dict[str, object]:
    """Run a command of `steerstream` with its output shown; return the JSON that it wrote."""
    command = [sys.executable, "-m", "steerstream", *arguments, f"--json={result}"]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own command
        raise DemoError(f"`steerstream {arguments[0]}` failed; its message stands above")
    report: dict[str, object] = json.loads(result.read_text())
    return report


if __name__ == "__main__":
    sys.exit(main())
