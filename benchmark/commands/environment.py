"""Steps a second of the Gymnasium environment, alone and vectorised.

The actions are those of the expert, so that episodes last. With `async`, each environment has a
process.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium
import numpy as np

from benchmark.commands.server_options import counts
from reports import text
from steerstream.command_line import positive
from steerstream_simulation.environment import ENVIRONMENT_ID

HELP = "steps a second of the Gymnasium environment, alone and vectorised"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    add = parser.add_argument
    add("--counts", type=counts, default="1,2,4", help="environments that are stepped as one")
    add("--modes", nargs="+", choices=("sync", "async"), default=["sync", "async"],
        help="how they are stepped")  # fmt: skip
    add("--seconds", type=positive, default=5.0, help="to measure each")
    add("--width-px", type=int, default=320, help="columns of the pictures")
    add("--height-px", type=int, default=240, help="rows of the pictures")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Step each number of environments in each mode.

    Returns:
        `points`: mode, environments, and steps a second of all of them together.
    """
    points = [
        {
            "mode": mode,
            "environments": number,
            "steps_per_s": round(_steps_per_s(mode, number, options), 1),
        }
        for mode in options.modes
        for number in sorted(options.counts)
    ]
    return {"size_px": [options.width_px, options.height_px], "points": points}


def _steps_per_s(mode: str, number: int, options: argparse.Namespace) -> float:
    vector = gymnasium.make_vec(
        f"steerstream_simulation.environment:{ENVIRONMENT_ID}",
        num_envs=number,
        vectorization_mode=mode,
        vector_kwargs={"context": "spawn"} if mode == "async" else {},
        width_px=options.width_px,
        height_px=options.height_px,
    )
    try:
        _, info = vector.reset(seed=0)
        # The first step of a process imports and compiles.
        *_, info = vector.step(np.asarray(info["expert_action"]))
        steps, began_s = 0, time.monotonic()
        while time.monotonic() - began_s < options.seconds:
            *_, info = vector.step(np.asarray(info["expert_action"]))
            steps += number
        return steps / (time.monotonic() - began_s)
    finally:
        vector.close()


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = [
        [point["mode"], str(point["environments"]), text.number(point["steps_per_s"])]
        for point in results["points"]
    ]
    return text.table(["mode", "environments", "steps a second"], rows)
