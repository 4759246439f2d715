"""Do the tests notice a small fault in the safety kernel? `make mutants`; takes most of an hour.

Every mutant of the modules that decide what a vehicle is told runs against the tests of its module,
in a process forked from one that has imported everything else already. The module itself has to
pass them first. A mutant that fails a test, or does not end, is killed. One that survives either
shows that a test is missing, or changes nothing that anybody could see: then `survivors.toml` names
it, with the reason. The command fails where another one survives, or one that is listed does not.

Verdicts are kept in `build/mutants`, so that a run which was stopped goes on where it was. They
hold until the module changes, its tests, or what these import of other tests; after a change of
what the module uses, delete them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from steerstream.progress import tracked
from tests.mutation.fork import Mirror
from tests.mutation.mutants import mutants
from tests.project.test_repository import ROOT

KERNEL = (
    "service/steerstream_service/session/vehicle_limits.py",
    "service/steerstream_service/session/machine.py",
    "service/steerstream_service/session/ticket.py",
    "service/steerstream_service/session/capture_clock.py",
    "service/steerstream_service/session/horizons.py",
    "service/steerstream_service/admission/ticket_office.py",
    "bundle/steerstream_bundle/view.py",
    "steerstream/guard.py",
    "steerstream/checksum.py",
    "steerstream/view.py",
    "steerstream/hand_over.py",
    "steerstream/kept_frames.py",
)
"""The modules that decide what a vehicle is told and what it follows."""

LEAST_KILLED = 0.95
SURVIVORS = Path(__file__).with_name("survivors.toml")
VERDICTS = ROOT / "build" / "mutants"


class Verdicts:
    """What became of a module's mutants, by their names: whether they survived.

    Args:
        module: the file, relative to the checkout.
        keep_killed: whether to believe that mutants are still killed which were so before a change
            of the module or its tests.
    """

    def __init__(self, module: Path, *, keep_killed: bool) -> None:
        self._file = (VERDICTS / module).with_suffix(".jsonl")
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._source = _digest(module)
        self._tests = _digest(*Mirror(module).files)
        self.survived: dict[str, bool] = {}
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        for line in map(json.loads, lines):
            is_same = (line["source"], line["tests"]) == (self._source, self._tests)
            if is_same or (keep_killed and not line["survived"]):
                self.survived[line["mutant"]] = line["survived"]

    def add(self, mutant: str, *, survived: bool) -> None:
        """Keep a verdict at once."""
        self.survived[mutant] = survived
        line = {
            "source": self._source,
            "tests": self._tests,
            "mutant": mutant,
            "survived": survived,
        }
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _digest(*paths: Path) -> str:
    content = b"\0".join((ROOT / path).read_bytes() for path in paths)
    return hashlib.sha256(content).hexdigest()[:16]


def judge(module: Path, verdicts: Verdicts, excused: Mapping[str, str]) -> bool:
    """Run the mutants of a module that have no verdict yet, and print what became of all.

    Args:
        module: the file, relative to the checkout.
        verdicts: those that are known.
        excused: mutants that may survive, with the reason.

    Returns:
        Whether enough were killed, and the survivors are those that are excused.

    Raises:
        RuntimeError: the tests fail without a fault, or what ended them says nothing of a mutant.
    """
    tests = Mirror(module)
    source = (ROOT / module).read_text()
    names, survivors = set(), set()
    faults = list(mutants(source, str(ROOT / module)))
    if any(mutant.name not in verdicts.survived for mutant in faults):
        unchanged = compile(source, str(ROOT / module), "exec", dont_inherit=True)
        if not tests.pass_with(unchanged):
            raise RuntimeError(f"{tests.tests} fails without a fault in {module}: mend that first")
    for mutant in tracked(faults, f"{module.stem}:", len(faults), "mutants"):
        names.add(mutant.name)
        if mutant.name not in verdicts.survived:
            verdicts.add(mutant.name, survived=tests.pass_with(mutant.code))
        if verdicts.survived[mutant.name]:
            survivors.add(mutant.name)
            if mutant.name not in excused:
                print(f"survived: {module}:{mutant.line}: {mutant.name}", flush=True)
    stale = sorted(excused.keys() - survivors)
    for name in stale:
        print(f"listed, but {'killed' if name in names else 'gone'}: {module}: {name}")
    killed = len(names) - len(survivors)
    print(f"{module}: {killed} of {len(names)} killed, {killed / len(names):.1%}", flush=True)
    return not stale and survivors <= excused.keys() and killed >= LEAST_KILLED * len(names)


def main() -> int:
    """Judge the modules that were asked for; without any, all of the kernel."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="files of the kernel; without any, all")
    parser.add_argument(
        "--survivors",
        action="store_true",
        help="after a change, run only mutants that are new or survived before",
    )
    arguments = parser.parse_args()
    excused = tomllib.loads(SURVIVORS.read_text())
    good = True
    for name in arguments.modules or KERNEL:
        module = Path(name)
        verdicts = Verdicts(module, keep_killed=arguments.survivors)
        good &= judge(module, verdicts, excused.get(name, {}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
