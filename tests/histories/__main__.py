"""Histories from the command line: `python -m tests.histories --histories 10000 --seed 1`."""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

from steerstream.command_line import Parser, count
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
    began_s = time.perf_counter()
    broken: dict[int, list[str]] = {}
    frames = 0
    with Histories() as histories:
        gc.collect()
        gc.freeze()
        for seed in range(options.seed, options.seed + options.histories):
            history = histories.run(seed)
            frames += history.frames
            found = list(lines(violations(history)))
            if seed % _LOOK_EVERY == 0:
                found += [f"  [given back] {left}" for left in histories.left_in_memory()]
            if found:
                broken[seed] = found
                command = f"python -m tests.histories --histories 1 --seed {seed}"
                plan = [f"  {line}" for line in history.plan] if options.histories == 1 else []
                print(f"history {seed} broke an invariant: {command}", *plan, *found, sep="\n")
    seconds = time.perf_counter() - began_s
    result = {
        "histories": options.histories,
        "seed": options.seed,
        "frames": frames,
        "broken": broken,
        "seconds": round(seconds, 1),
    }
    print(f"{options.histories} histories, {frames} frames, {len(broken)} broken, {seconds:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
