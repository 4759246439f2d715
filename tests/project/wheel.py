"""Build the wheel, and install it beside nothing but what its metadata requires."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def copy_tracked_files(folder: Path) -> Path:
    """Copy the files that git tracks, links as links: builds leave nothing in the checkout."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build a "wheel" or an "sdist" of a source tree with this environment's setuptools."""
    script = f"from setuptools.build_meta import *; print(build_{kind}({str(folder)!r}))"
    built = run([sys.executable, "-c", script], cwd=source)
    return folder / built.stdout.splitlines()[-1]


class Environment:
    """A virtual environment outside of the checkout, without pip and without a registry."""

    def __init__(self, folder: Path, wheel: Path, *, extras: Sequence[str] = ()) -> None:
        """Install the wheel, and link the test environment's copies of what it requires."""
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        run([*pip, "install", "--no-index", "--no-deps", "--no-compile", str(wheel)], cwd=folder)
        (self.site_packages,) = folder.glob("lib/python*/site-packages")
        (info,) = self.site_packages.glob("steerstream-*.dist-info")
        self.distribution = metadata.Distribution.at(info)
        for distribution in required(self.distribution, extras):
            _link(distribution, self.site_packages)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the installed `steerstream`."""
        return [str(self.folder / "bin" / "steerstream"), *arguments]

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run `steerstream` to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=cwd,
            env=environment_variables(),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )


def environment_variables() -> dict[str, str]:
    """Return this process's variables without those that lead to the checkout's code."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "COV_", "COVERAGE_"))
    }


def required(
    distribution: metadata.Distribution, extras: Sequence[str]
) -> Iterator[metadata.Distribution]:
    """Yield what a distribution requires by its metadata, and what that requires in turn."""
    seen: set[tuple[str, str]] = set()
    waiting = [(distribution, extra) for extra in ("", *extras)]
    while waiting:
        wanted_by, wanted_extra = waiting.pop()
        for requirement in map(Requirement, wanted_by.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": wanted_extra}):
                continue
            found = metadata.distribution(requirement.name)
            assert found.version in requirement.specifier, requirement
            for extra in ("", *requirement.extras):
                if (key := (canonicalize_name(requirement.name), extra)) not in seen:
                    seen.add(key)
                    waiting.append((found, extra))
                    yield found


def _link(distribution: metadata.Distribution, site_packages: Path) -> None:
    for file in distribution.files or ():
        place = site_packages / file
        if ".." in file.parts or file.suffix == ".pyc" or place.is_symlink():
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(Path(str(distribution.locate_file(file))).resolve())


def run(command: Sequence[str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output is shown if it fails."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=environment_variables(),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result
