"""Runs the `steerstream` command against a scripted server, in the main thread for signals."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from steerstream.__main__ import main
from steerstream.testing import FakeServer, Reply
from tests.steerstream.wired import serving


@contextlib.contextmanager
def command_line(fake: FakeServer | None = None, credentials=None):
    """Yields a function that runs a command line against a server and returns its exit code."""
    with served(fake, credentials) as target:
        yield lambda *words: main([str(word) for word in (*words, "--target", target)])


@contextlib.contextmanager
def served(fake: FakeServer | None = None, credentials=None):
    """Serves in another thread, so that a command line can run in this one; yields the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def on_loop(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    server = serving(fake or FakeServer(lambda frame: Reply(0.1)), credentials)
    target, _ = on_loop(server.__aenter__())
    try:
        yield target
    finally:
        on_loop(server.__aexit__(None, None, None))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
