"""Fail if the committed stubs differ from what `proto/` generates."""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUBS = Path("steerstream") / "v1"


def stale_stubs(fresh: Path) -> list[str]:
    """Return the names of stubs that differ, are missing, or have no source any more."""
    committed = {path.name for path in (ROOT / STUBS).glob("*_pb2*.py*")}
    generated = {path.name for path in (fresh / STUBS).glob("*_pb2*.py*")}
    _, differing, broken = filecmp.cmpfiles(
        ROOT / STUBS, fresh / STUBS, sorted(committed & generated), shallow=False
    )
    return sorted([*differing, *broken, *(committed ^ generated)])


def main() -> int:
    """Compare; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        generate = [sys.executable, str(ROOT / "proto" / "generate.py"), folder]
        subprocess.run(generate, check=True)  # noqa: S603 - our own script
        stale = stale_stubs(Path(folder))
    if stale:
        print(
            f"stubs out of step with proto/ ({', '.join(stale)}): run `make proto`", file=sys.stderr
        )
        return 1
    print("stubs are in step with proto/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
