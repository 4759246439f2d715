"""Everything to be measured on a machine with a GPU, in one command.

First the network alone, with the server's own stepper: whether the GPU answers as the CPU does over
a carried sequence, what crosses the bus, and what a step of each bucket takes with and without CUDA
graphs. Then the server: latency and capacity.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from benchmark import progress
from benchmark.commands import capacity, latency
from benchmark.commands import server_options as shared
from benchmark.errors import BenchmarkError
from reports import text
from steerstream.command_line import count

HELP = "a GPU's answers, bus, steps with and without graphs, latency and capacity"
_STEPS_S = 120.0
"""Length of the steps on a slow machine; it only scales the progress bar."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    shared.add_server(parser)
    shared.add_workers(parser)
    shared.add_load(
        parser, seconds=20.0, runs=f"each run of `latency`; of `capacity`, {capacity.RUNS}"
    )
    add = parser.add_argument
    add("--steps", type=count, default=500, help="steps of each measurement of a step")
    add("--sessions", type=shared.counts, default="1,64,250,500", help="vehicles of `latency`")
    add("--start", type=count, default=64, help="vehicles that `capacity` tries first")
    add("--most", type=count, default=1500, help="vehicles that it tries at most")
    parser.set_defaults(provider="cuda", share_seconds=None)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the network, and then the server.

    Raises:
        BenchmarkError: there is no GPU, it answers otherwise than the CPU, or state crossed the
            bus; or the server or a load generator could not do its part.
    """
    found = _network(options)
    return {**found, "latency": latency.run(options), "capacity": capacity.run(options)}


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    return "\n\n".join(
        [
            _device(results["device"]),
            _answers(results["comparison"]),
            _steps(results["steps"]),
            latency.table(results["latency"]),
            capacity.table(results["capacity"]),
        ]
    )


def _network(options: argparse.Namespace) -> dict[str, Any]:
    """Run `benchmark.programs.device_steps` and judge what it found."""
    command = [
        sys.executable,
        "-m",
        "benchmark.programs.device_steps",
        "--model",
        str(options.model),
    ]
    command += ["--provider", options.provider, "--steps", str(options.steps)]
    with progress.step("the network alone", _STEPS_S):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BenchmarkError(said[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    comparison = found["comparison"]
    if not comparison["agrees"]:
        raise BenchmarkError(f"the GPU answers otherwise than the CPU: {comparison['worst']}")
    if comparison["state_bytes"]:
        raise BenchmarkError(f"state crossed the bus: {comparison['state_bytes']} bytes")
    return found


def _device(device: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in device.items())


def _answers(comparison: dict[str, Any]) -> str:
    worst = max(comparison["worst"].values())
    frames = comparison["frames"]
    to_device, to_host = (
        {name: count / frames for name, count in comparison[key].items()}
        for key in ("bytes_to_device", "bytes_to_host")
    )
    within = f"outputs within {worst:.1e} of the CPU's (allowed: {comparison['tolerance']:g})"
    lines = [
        f"- {frames:,} frames of carried state: {within}",
        f"- to the device, bytes a frame: {_bytes(to_device)}",
        f"- to the host, bytes a frame: {_bytes(to_host)}",
        f"- of these, state: {comparison['state_bytes']}",
    ]
    return "\n".join(lines)


def _bytes(counts: dict[str, float]) -> str:
    return ", ".join(f"{name} {count:,.0f}" for name, count in counts.items())


def _steps(steps: list[dict[str, Any]]) -> str:
    columns = ["batch", "p50", "p99", "p50 after 100 ms idle"]
    parts = []
    for graphs in sorted({step["graphs"] for step in steps}, reverse=True):
        rows = (
            [str(step["bucket"]), *(text.ms(step[key]) for key in _COLUMNS)]
            for step in steps
            if step["graphs"] == graphs
        )
        parts.append(f"Steps {'with' if graphs else 'without'} CUDA graphs:")
        parts.append(text.table(columns, rows))
    return "\n\n".join(parts)


_COLUMNS = ("p50_ms", "p99_ms", "after_idle_p50_ms")
