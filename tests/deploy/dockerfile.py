"""Reads a Dockerfile, and runs it in a folder that stands for the image's root.

FROM and USER do nothing: the folder has this machine's Python, and this process's user. Absolute
paths of the image, which are all below one of a few folders, are put below the folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDERS = ("/opt/steerstream", "/etc/steerstream", "/src")


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions and what follows each, without comments and line ends."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    words = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, rest.strip()) for name, _, rest in words]


class Image:
    """What a Dockerfile's steps make.

    Args:
        root: the folder that stands for the image's root.
        context: the folder that COPY takes files from.

    Attributes:
        environment: from ENV, for the program. RUN does not get it.
        commands: of ENTRYPOINT, CMD and HEALTHCHECK.
        user: of the last USER.
    """

    def __init__(self, root: Path, context: Path) -> None:
        self.root = root
        self.environment: dict[str, str] = {}
        self.commands: dict[str, list[str]] = {}
        self.user = ""
        self._context = context
        self._arguments: dict[str, str] = {}
        self._folder = root

    def build(self, file: Path) -> None:
        """Run all stages, in one folder."""
        for name, rest in instructions(file):
            getattr(self, f"_{name.lower()}")(rest)

    def _inside(self, text: str) -> str:
        for folder in FOLDERS:
            text = re.sub(rf"(?<![\w/.]){folder}\b", f"{self.root}{folder}", text)
        return text

    def _from(self, rest: str) -> None:
        self.environment = {}

    def _expose(self, rest: str) -> None:
        """Nothing: the folder has this machine's network."""

    def _user(self, rest: str) -> None:
        self.user = rest

    def _arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self._arguments[name] = value

    def _env(self, rest: str) -> None:
        self.environment |= dict(re.findall(r"(\w+)=(\S+)", self._inside(rest)))

    def _workdir(self, rest: str) -> None:
        self._folder = Path(self._inside(rest))
        self._folder.mkdir(parents=True)

    def _copy(self, rest: str) -> None:
        if rest.startswith("--from="):  # the stages share the folder
            return
        *sources, target = rest.split()
        inside = self._inside(target)
        place = Path(inside) if target.startswith("/") else self._folder / target
        for source in (self._context / name for name in sources):
            if source.is_dir():  # links stay links, as in an image
                skipped = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, place, symlinks=True, ignore=skipped)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, place)

    def _run(self, rest: str) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        home = {name: os.environ[name] for name in ("HOME",) if name in os.environ}
        subprocess.run(
            ["sh", "-euc", self._inside(rest)],
            cwd=self._folder,
            env={**home, "PATH": path, **self._arguments},
            check=True,
        )

    def _entrypoint(self, rest: str) -> None:
        self.commands["ENTRYPOINT"] = json.loads(self._inside(rest))

    def _cmd(self, rest: str) -> None:
        self.commands["CMD"] = json.loads(self._inside(rest))

    def _healthcheck(self, rest: str) -> None:
        self.commands["HEALTHCHECK"] = json.loads(self._inside(rest.partition("CMD ")[2]))
