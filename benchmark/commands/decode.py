"""From a JPEG to the network's input: what each decoder costs on a core, and does to accuracy.

Pictures are the camera's own where the driving data is at hand, and made ones. The RMSE is that of
the bundle over the data's validation frames, which were not trained on; block 11 of them exists at
640x480 as well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmark.commands.server_options import DEFAULT_MODEL
from benchmark.errors import BenchmarkError
from reports import text
from steerstream.command_line import count

HELP = "time JPEG decoders and score the network on what they give"

_CHECKOUT = Path(__file__).resolve().parents[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="bundle to decode for")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(os.environ.get("STEERSTREAM_DATA", _CHECKOUT.parent / "shared" / "data")),
        help="folder with the driving data (default: STEERSTREAM_DATA, then ../shared/data)",
    )
    parser.add_argument("--rounds", type=count, default=7, help="rounds, of which the best counts")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure in a process of its own.

    Returns:
        `jpeg`: best and median microseconds by pictures and way; `raw`: the same by kind;
        `rmse_rad`: by way and size, empty without the data.

    Raises:
        BenchmarkError: the bundle or the data cannot be used.
    """
    command = [sys.executable, "-m", "benchmark.programs.decoders", "--model", str(options.model)]
    command += ["--data", str(options.data), "--rounds", str(options.rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise BenchmarkError("the decoders were not measured; what went wrong stands above")
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def table(results: dict[str, Any]) -> str:
    """Return the decoders and what needs no decoding as Markdown."""
    jpeg, rmse = results["jpeg"], results["rmse_rad"]
    sizes = sorted({size for scores in rmse.values() for size in scores})
    columns = ["JPEG, us a picture", *jpeg, *(f"RMSE {size}, rad" for size in sizes)]
    rows = [
        [
            name,
            *(text.number(timings[name]["best_us"]) for timings in jpeg.values()),
            *(text.number(rmse[name].get(size), 4) for size in sizes),
        ]
        for name in next(iter(jpeg.values()))
    ]
    raw = [[kind, text.number(timing["best_us"])] for kind, timing in results["raw"].items()]
    return f"{text.table(columns, rows)}\n\n{text.table(['without decoding', 'us'], raw)}"
