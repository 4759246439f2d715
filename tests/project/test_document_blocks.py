"""The Python blocks of the README and the pages in docs/ run as they stand."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from steerstream.testing import FakeServer, Reply
from tests.project.document_blocks import blocks
from tests.steerstream.wired import serving

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if blocks(page)
]


@pytest.fixture(scope="module")
def target():
    """A scripted server that steers 0.1 rad, in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def on_loop(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    server = serving(FakeServer(lambda frame: Reply(0.1)))
    address, _ = on_loop(server.__aenter__())
    yield address
    on_loop(server.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page, target, tmp_path):
    """In a fresh process, as a reader's: what other tests imported would hide a missing import.

    In a folder of its own, for a block may write a file.
    """
    command = [sys.executable, "-m", "tests.project.document_blocks", str(page), target]
    places = (ROOT, *(ROOT / name for name in ("bundle", "service", "simulation")))
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_the_pages_with_blocks_are_known():
    """A page whose blocks are no longer found would pass every test."""
    assert {"README.md", "client.md", "gymnasium.md", "recording.md"} <= {
        page.name for page in PAGES
    }
