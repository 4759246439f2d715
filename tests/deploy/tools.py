"""The programs that deploy/ is checked with, none of which the project itself needs."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

_FOLDERS = (Path(sys.executable).parent, ROOT / ".tools/bin")


def tool(name: str) -> str:
    """The path of a program; without it the test is skipped, and fails in CI."""
    path = os.pathsep.join([*map(str, _FOLDERS), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {name}: make deploy-tools")
    return found
