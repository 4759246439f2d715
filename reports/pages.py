"""Files that are written from results: whole pages, and tables between markers in others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


class StaleError(Exception):
    """A file is not what would be written now; the message names it."""


def between(page: str, name: str, content: str) -> str:
    """Return a page with what stands between `<!-- name:begin -->` and `<!-- name:end -->`.

    Args:
        page: the whole text; without these markers it stays as it is.
        name: of the markers.
        content: what is to stand between them.
    """
    markers = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    return markers.sub(lambda match: f"{match[1]}{content}\n{match[2]}", page)


def write(root: Path, pages: Mapping[Path, str]) -> None:
    """Write pages by their paths below a folder."""
    for path, content in pages.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")


def check(root: Path, pages: Mapping[Path, str], command: str) -> None:
    """Compare pages with what is there.

    Args:
        root: the folder that their paths start from.
        pages: texts by path.
        command: what writes them, for the error.

    Raises:
        StaleError: one differs or is missing; it says which command writes it.
    """
    for path, content in pages.items():
        found = root / path
        if not found.exists() or found.read_text(encoding="utf-8") != content:
            raise StaleError(f"{path} is not what the results say; run `{command}`")
