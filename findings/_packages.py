"""Shared by all findings: runs a small program with pinned packages and compares its output."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn


def run(
    program: str, *packages: str, environment: Mapping[str, str] | None = None
) -> tuple[str, list[str]]:
    """Install packages into a temporary folder and run a program with them, and with nothing else.

    Args:
        program: Python source.
        packages: requirements with `==`.
        environment: variables that the program finds beside PATH, HOME and PYTHONPATH.

    Returns:
        What it printed, standard error included, and the files that it left in its home directory.
    """
    with tempfile.TemporaryDirectory() as folder:
        site, home = Path(folder, "site"), Path(folder, "home")
        home.mkdir()
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site)]
        subprocess.run([*pip, *packages], check=True, stderr=subprocess.DEVNULL)  # noqa: S603
        variables = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(site)}
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", program],
            env=variables | dict(environment or {}),
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout, sorted(path.name for path in home.rglob("*") if path.is_file())


def conclude(holds: bool, seen: object) -> NoReturn:  # noqa: FBT001 - the answer is the argument
    """Exit with 0 where the library still behaves as the finding states, else with 1."""
    name = Path(sys.argv[0]).stem
    print(f"{name}: {'as stated' if holds else f'CHANGED, saw {seen!r}'}")
    sys.exit(0 if holds else 1)
