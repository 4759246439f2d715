"""A start that hangs in C code ends by a signal or by its time limit, at any moment."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from tests.service.processes import ROOT

PREPARE = """
import ctypes, os, signal, sys, threading, time
from steerstream_service.process.start_guard import StartGuard

def hang():
    print("hangs", flush=True)
    while True:
        ctypes.CDLL(None).sleep(1000)  # as a network that loops: Python runs no signal handler

"""


def started(text):
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE + textwrap.dedent(text)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_start_that_hangs(number):
    process = started("with StartGuard(600): hang()")
    assert process.stdout.readline() == "hangs\n"
    process.send_signal(number)
    assert finished(process) == (0, "")


def test_a_start_that_hangs_ends_after_its_time():
    process = started("with StartGuard(0.1): hang()")
    assert finished(process) == (
        2,
        "steerstream serve: not ready within start_timeout_s, 0.1 s; what takes so long?\n",
    )


def test_a_start_that_failed_ends_even_if_its_cleaning_up_hangs():
    process = started(
        """
        import steerstream_service.process.start_guard as module
        module._CLEAN_UP_S = 0.1
        try:
            with StartGuard(600): raise ValueError("no such network")
        finally:
            hang()
        """
    )
    assert finished(process) == (2, "steerstream serve: no such network\n")


def test_a_start_that_failed_says_why_itself_where_nothing_hangs():
    process = started(
        """
        try:
            with StartGuard(600): raise ValueError("no such network")
        except ValueError as error:
            sys.exit(f"said once: {error}")
        """
    )
    assert finished(process) == (1, "said once: no such network\n")


def test_after_the_start_signals_are_the_programs_own():
    process = started(
        """
        with StartGuard(0.5):
            pass
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        time.sleep(1)  # the guard's time is over, and means nothing any more
        print("serves", flush=True)
        time.sleep(60)
        """
    )
    assert process.stdout.readline() == "serves\n"
    process.send_signal(signal.SIGTERM)
    assert finished(process) == (7, "")


def test_a_signal_at_the_very_end_of_the_start_is_not_lost():
    process = started(
        """
        guard = StartGuard(60)
        with guard:
            join = guard._thread.join
            guard._thread.join = lambda: (join(), os.kill(os.getpid(), signal.SIGTERM))
        print(guard.got_signal, flush=True)
        """
    )
    assert process.stdout.readline() == "True\n"
    assert finished(process) == (0, "")
