"""Histories from the command line: `python -m tests.histories --histories 10000 --seed 1`."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

from steerstream.command_line import Parser, count
from steerstream.progress import tracked
from tests.histories.model import lines, violations
from tests.histories.scenario import Histories

_LOOK_EVERY = 200
"""Histories between two looks at what memory they left: a look takes as long as two of them."""


def main() -> int:
    """Run histories, print those that broke an invariant, and return the exit status."""
    parser = Parser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--histories", type=count, default=10_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first one (%(default)s)")
    parser.add_argument("--json", type=Path, help="where to write the result")
    options = parser.parse_args()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    broken: dict[int, list[str]] = {}
    frames = 0
    with Histories() as histories:
        gc.collect()
        gc.freeze()
        seeds = range(options.seed, options.seed + options.histories)
        for seed in tracked(seeds, "simulating", options.histories, "histories"):
            history = histories.run(seed)
            frames += history.frames
            found = list(lines(violations(history)))
            plan = [f"  {line}" for line in history.plan] if options.histories == 1 else []
            # Its errors hold what raised them.
            del history
            if seed % _LOOK_EVERY == 0:
                found += [f"  [given back] {left}" for left in histories.left_in_memory()]
            if found:
                broken[seed] = found
                command = f"python -m tests.histories --histories 1 --seed {seed}"
                print(
                    f"history {seed} broke an invariant: {command}",
                    *plan,
                    *found,
                    sep="\n",
                    flush=True,
                )
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    result = {
        "histories": options.histories,
        "seed": options.seed,
        "frames": frames,
        "broken": broken,
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 1),
    }
    done = f"{options.histories} histories, {frames} frames: {len(broken)} broke an invariant"
    print(f"{done}; {seconds:.0f} s, {cpu_s:.0f} s of them on a core")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
