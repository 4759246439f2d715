"""Send a million messages that no honest program sends: `python -m tests.fuzz --seed 1`.

Three things are fuzzed: a server's sessions, a client's, and the readers of files. The command
prints what it sent and what came of it, and fails where anything was answered otherwise than with
an error of its own kind. The same seed sends the same messages.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
from pathlib import Path
from unittest import mock

from tests.fuzz import files, server, vehicle
from tests.fuzz.tally import Tally
from tests.fuzz.virtual_time import virtual_time

TARGETS = {"server": server.fuzz, "client": vehicle.fuzz, "files": files.fuzz}


def run(target: str, messages: int, seed: int, *, shows_progress: bool = False) -> Tally:
    """Fuzz one of the targets.

    Args:
        target: one of `TARGETS`.
        messages: how many to send.
        seed: of all that is chosen.
        shows_progress: whether to print a line now and then.
    """
    tally = Tally(target, messages, shows_progress=shows_progress)
    secret = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(secrets, "token_bytes", secret.randbytes),
        mock.patch.object(secrets, "token_hex", lambda size: secret.randbytes(size).hex()),
        virtual_time() as runner,
    ):
        runner.run(TARGETS[target](messages, seed, Path(folder), tally))
    return tally


def main() -> int:
    """Fuzz what was asked for, and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"{', '.join(TARGETS)}; without any, all")
    parser.add_argument("--messages", type=int, default=1_000_000, help="to each of them")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    faults = 0
    for target in arguments.targets or TARGETS:
        tally = run(target, arguments.messages, arguments.seed, shows_progress=True)
        print(tally.summary())
        if tally.control_frames:
            print(f"  {tally.control_frames:,} frames of a vehicle beside it, as without it")
        for what, count in sorted(tally.counts.items()):
            print(f"  {count:>9,}  {what}")
        for what, count in tally.faults.most_common():
            print(f"  {count:>9,}  FAULT {what}")
        faults += tally.faults.total()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
