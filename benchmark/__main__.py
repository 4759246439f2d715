"""The command line of the benchmarks: ``python -m benchmark latency``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import steerstream
from steerstream.extras import command_needs

with command_needs("benchmark", "'steerstream[cpu,sim]'"):
    from benchmark import frames, latency, load, machine
    from benchmark.server_process import ServerFailedError, serve

PICTURES = 64
"""Different pictures in turn, so that no cache sees the same one twice in a row."""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="python -m benchmark", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "latency",
        help="latency by stage, open loop, from when a frame was due",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = command.add_argument
    add("--model", type=Path, default=Path("models/pilotnet_lstm.onnx"), help="bundle to serve")
    add("--target", help="HOST:PORT of a running server, in place of --model")
    add("--sessions", type=_counts, default="1,4,8,16", help="vehicles at once, one run each")
    add("--rate-hz", type=float, default=20.0, help="frames a second of each vehicle")
    add("--seconds", type=float, default=15.0, help="length of each run")
    add("--budget-ms", type=float, default=50.0, help="budget of each frame")
    add("--size", type=_size, default="320x240", help="WIDTHxHEIGHT of the pictures")
    add("--encoding", choices=("jpeg", "rgb8"), default="jpeg", help="how pictures travel")
    add("--json", type=Path, help="write the results here")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one benchmark; return the exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.target:
            results = run_latency(options.target, options)
        else:
            with serve(options.model) as target:
                results = run_latency(target, options)
    except (ServerFailedError, steerstream.SteerstreamError) as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    print(latency.table(results))
    if options.json:
        report = {"benchmark": "latency", "machine": machine.describe(), "results": results}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


def run_latency(target: str, options: argparse.Namespace) -> list[latency.Summary]:
    """Run one load for each number of sessions."""
    width_px, height_px = options.size
    pictures = frames.road_pictures(PICTURES, width_px=width_px, height_px=height_px)
    images: list[steerstream.Image] = [*pictures]
    if options.encoding == "jpeg":
        images = [*frames.jpegs(pictures)]
    results = []
    for sessions in options.sessions:
        print(f"{sessions} vehicles for {options.seconds:g} s ...", file=sys.stderr)
        item = load.Load(
            sessions=sessions,
            rate_hz=options.rate_hz,
            seconds=options.seconds,
            budget_ms=options.budget_ms,
            images=images,
        )
        results.append(latency.measure(target, item))
    return results


def _counts(text: str) -> list[int]:
    counts = [int(item) for item in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError(f"needs positive numbers such as 1,8,16, not {text}")
    return counts


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"needs WIDTHxHEIGHT such as 320x240, not {text}")
    return int(width), int(height)


if __name__ == "__main__":
    sys.exit(main())
