"""`steerstream watch` as a process."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.steerstream.watch.scripted import WAIT_S


def command(*arguments):
    return [sys.executable, "-m", "steerstream", "watch", *arguments]


@contextlib.contextmanager
def watching(*arguments, listen="127.0.0.1:0"):
    """The process and the page's address."""
    with subprocess.Popen(
        command(*arguments, "--listen", listen),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, process.stdout.readline().strip().rpartition(" ")[2]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_the_page_is_and_ends_well(number):
    with watching("--target", "127.0.0.1:1", "--target", "127.0.0.1:1") as (process, url):
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            assert b"steerstream" in answer.read()
        # The page is served, but nobody is watched yet.
        line = process.stderr.readline()
        assert line.startswith("steerstream watch: 127.0.0.1:1 refuses the connection")
        process.send_signal(number)
        _, errors = process.communicate(timeout=WAIT_S)
        assert (process.returncode, errors) == (0, "")


def refused(*arguments):
    result = subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert (result.returncode, result.stdout) == (2, "")
    return result.stderr


def test_a_mistake_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        line = refused("--target", "localhost:50051", "--listen", place)
        assert line.startswith(f"steerstream: cannot listen on {place}: ")
        assert line.endswith("; choose another --listen\n")
    assert "needs HOST:PORT, not '8080'" in refused("--target", "a:1", "--listen", "8080")
    assert "target must be HOST:PORT" in refused("--target", "")
    assert "can be given 32 times, not 33" in refused(*(f"--target=a:{n}" for n in range(1, 34)))
    assert "--target" in refused()


def test_without_its_extra_it_says_what_to_install():
    script = "import sys; sys.modules['aiohttp'] = None; import runpy; "
    script += "runpy.run_module('steerstream', run_name='__main__', alter_sys=True)"
    result = subprocess.run(
        [sys.executable, "-c", script, "watch", "--target", "localhost:50051"],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(
        "steerstream watch: aiohttp is not installed; install it with: pip "
    )
    assert "[watch]" in result.stderr
    assert result.stderr.count("\n") == 1
