"""What documents and pictures name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = ROOT / "docs" / "decisions"
SERVER, BUNDLE = ROOT / "service/steerstream_service", ROOT / "bundle/steerstream_bundle"
FOLDERS = (
    "bundle|deploy|docs|examples|model_export|models|proto|service|simulation|steerstream|tests"
)


def documents() -> list[Path]:
    folders = ("", "deploy", "docs", "docs/decisions", "docs/howto", "findings", "model_export")
    return [path for folder in folders for path in sorted((ROOT / folder).glob("*.md"))]


def texts(picture: str) -> list[str]:
    """The lines of text in a picture."""
    markup = (ROOT / "docs/images" / picture).read_text()
    return [re.sub("<[^>]+>", "", line) for line in re.findall(r"<text.*?</text>", markup)]


def test_decisions_are_numbered_titled_and_listed_alike() -> None:
    index = (DECISIONS / "README.md").read_text()
    rows = re.findall(r"^\| \[(\d+)\]\((\S+)\) \| (.+) \|$", index, re.MULTILINE)
    pages = sorted(DECISIONS.glob("[0-9]*.md"))
    assert [(number, name) for number, name, _ in rows] == [
        (str(number), page.name) for number, page in enumerate(pages, start=1)
    ]
    for (number, _, title), page in zip(rows, pages, strict=True):
        assert page.name.startswith(f"{int(number):04}-")
        assert page.read_text().splitlines()[0] == f"# {number}. {title}"


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_backticks_exist(document: Path) -> None:
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", document.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_files_on_the_way_of_a_frame_exist() -> None:
    words = [word.strip("().") for text in texts("frame.svg") for word in text.split()]
    files = [word for word in words if word.endswith(".py")]
    assert len(files) > 10
    for name in files:
        inside = BUNDLE / name.removeprefix("bundle/…/")
        assert (inside if "…" in name else SERVER / name).is_file(), name


def test_the_picture_of_the_rooms_shows_every_room_of_the_server() -> None:
    rooms = {path.name for path in SERVER.iterdir() if path.is_dir() and path.name[0] != "_"}
    shown = {name for text in texts("rooms.svg") for name in re.findall(r"(\w+)/", text)}
    assert rooms <= shown


def test_docstrings_are_markdown_without_roles_of_another_tool() -> None:
    role = re.compile(r":(mod|class|func|meth|data|attr|exc|ref):`")
    folders = ("steerstream", "bundle", "service", "simulation", "model_export", "benchmark")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert sources
    assert [path.name for path in sources if role.search(path.read_text())] == []
