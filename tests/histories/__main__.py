"""Histories from the command line: `python -m tests.histories --histories 10000 --seed 1`.

They run on all cores, a hundred at a time, and what is done is kept in `build/histories`: a run
that was stopped goes on where it was, as long as nothing of the code has changed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from steerstream.command_line import Parser, count
from steerstream.progress import tracked
from tests.histories import chunks


def main() -> int:
    """Run histories, print those that broke an invariant, and return the exit status."""
    parser = Parser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--histories", type=count, default=10_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first one (%(default)s)")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=count, default=cores, help="at once (%(default)s)")
    parser.add_argument("--json", type=Path, help="where to write the result")
    options = parser.parse_args()
    end = options.seed + options.histories
    asked = [(seed, min(chunks.SIZE, end - seed)) for seed in range(options.seed, end, chunks.SIZE)]
    began_s, kept = time.perf_counter(), chunks.Kept()
    done = []
    found = chunks.run_all(asked, kept, options.processes)
    for chunk in tracked(found, "simulating", len(asked), f"chunks of {chunks.SIZE} histories"):
        done.append(chunk)
        for seed, told in chunk.broken.items():
            command = f"python -m tests.histories --histories 1 --seed {seed}"
            print(f"history {seed} broke an invariant: {command}", *told, sep="\n", flush=True)
    seconds, cpu_s = time.perf_counter() - began_s, sum(chunk.cpu_s for chunk in done)
    broken = {seed: lines for chunk in done for seed, lines in sorted(chunk.broken.items())}
    result = {
        "histories": options.histories,
        "seed": options.seed,
        "frames": sum(chunk.frames for chunk in done),
        "broken": broken,
        "seconds": round(seconds, 1),
        "cpu_s": round(cpu_s, 1),
    }
    words = f"{options.histories} histories, {result['frames']} frames"
    print(f"{words}: {len(broken)} broke an invariant; {seconds:.0f} s, {cpu_s:.0f} s of one core")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
