"""Simulated histories of servers and vehicles: does any of them break a promise?

One to three servers and up to four vehicles run in one thread on virtual time: the real server with
its admission, sessions, engine, decoding queue and tickets, and the real client with its hand-over
and guard. The seed decides whether messages or timers come first, what a callback takes, how long
messages travel, and what goes wrong: servers that crash with or without notice and come back with
or without their ticket key, drains, stops, connections that break, networks that say nothing, slow
machines, steps that fail, vehicles that leave or stand still, strangers who keep no rule. A
reference model that knows the wire contract alone then judges what every stream and every vehicle
saw: one answer a frame, in order; no state that crosses, is lost or is counted twice; resumed as
unbroken; no frame missed without a reason; ages, budgets and notices by the clock; nothing followed
beyond its age; sessions, slots, load and memory back at zero.

Not simulated are gRPC and the sockets below it (calls, statuses and flow control are imitated),
threads (the engine's and the decoders' take turns at the moments when they hand something over),
ONNX Runtime (a network of hashes shows exactly which frames it has seen), and several workers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmark.errors import BenchmarkError
from benchmark.host.jobs import ROOT, SOURCES
from reports import text
from steerstream.command_line import count

HELP = "simulated histories with every kind of fault: promises that were broken"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    add = parser.add_argument
    add("--histories", type=count, default=10_000, help="how many")
    add("--seed", type=int, default=1, help="of the first one; the others follow it")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the histories in processes of their own, and take what an earlier run has done already.

    Returns:
        `histories`, `seed`, `frames` that servers read, `broken`: what broke by seed, `seconds` and
        `cpu_s`.

    Raises:
        BenchmarkError: they did not come to an end.
    """
    with tempfile.TemporaryDirectory(prefix="steerstream-") as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-m", "tests.histories", "--json", str(path)]
        command += ["--histories", str(options.histories), "--seed", str(options.seed)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(SOURCES)}
        subprocess.run(command, cwd=ROOT, env=environment, check=False)  # noqa: S603
        if not path.exists():
            raise BenchmarkError("the histories did not end; what went wrong stands above")
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    columns = ["histories", "frames", "broke a promise", "seeds", "time on one core"]
    row = [
        text.number(results["histories"]),
        text.number(results["frames"]),
        text.number(len(results["broken"])),
        ", ".join(results["broken"]) or "none",
        f"{results['cpu_s'] / 60:.1f} min",
    ]
    return text.table(columns, [row])
