"""An environment for each peer, made once: a list of pinned packages becomes a folder."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
import venv
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from benchmark.errors import BenchmarkError
from benchmark.host.jobs import ROOT

_STAMP = "installed"


def python(folder: Path) -> Path:
    """Return the interpreter of an environment."""
    return folder / "bin" / "python"


def requirements(name: str) -> str:
    """Return a list of pinned packages, by its name."""
    return resources.files("benchmark.peers.requirements").joinpath(f"{name}.txt").read_text()


def install(name: str, environments: Path, *, resolve: bool = False) -> Path:
    """Make the environment of a list of packages, unless it is there already.

    Args:
        name: of the list.
        environments: the folder that holds them all.
        resolve: let pip add what the listed packages ask for.

    Returns:
        Its interpreter.

    Raises:
        BenchmarkError: pip failed.
    """
    folder = (environments / name).resolve()
    stamp, digest = folder / _STAMP, _digest(name)
    if not (stamp.exists() and stamp.read_text() == digest):
        print(f"installing {name} into {folder} ...", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        _pip(python(folder), name, resolve=resolve)
        stamp.write_text(digest)
    return python(folder)


def check_out(revision: str, environments: Path) -> Path:
    """Write the files of a revision of this checkout, unless they are there already.

    Args:
        revision: its name in git.
        environments: the folder that holds all environments.

    Returns:
        Their folder.

    Raises:
        BenchmarkError: git does not know the revision.
    """
    folder = (environments / f"revision-{revision}").resolve()
    if folder.is_dir():
        return folder
    archive = ["git", "-C", str(ROOT), "archive", "--end-of-options", revision]
    done = subprocess.run(archive, capture_output=True, check=False)  # noqa: S603 - git alone
    if done.returncode:
        raise BenchmarkError(f"git has no revision {revision!r}; give one of this checkout")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def versions(interpreter: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the installed versions of some packages, as the environment itself tells them."""
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]), sep='\\n')"
    done = subprocess.run(  # noqa: S603 - the environment's own interpreter
        [interpreter, "-c", code, *packages], capture_output=True, text=True, check=True
    )
    return dict(zip(packages, done.stdout.split(), strict=True))


def _digest(name: str) -> str:
    return hashlib.sha256(f"{sys.version}\n{requirements(name)}".encode()).hexdigest()


def _pip(interpreter: Path, name: str, *, resolve: bool) -> None:
    file = resources.files("benchmark.peers.requirements").joinpath(f"{name}.txt")
    with resources.as_file(file) as path:
        command: list[str | Path] = [
            interpreter,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        command += [*([] if resolve else ["--no-deps"]), "-r", path]
        done = subprocess.run(  # noqa: S603 - pip of the environment just made
            command, capture_output=True, text=True, check=False
        )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise BenchmarkError(f"{name}: pip failed: {' '.join(reason)}")
