"""The one parser: one line for a mistake, no abbreviations, numbers that are numbers."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from steerstream import command_line
from steerstream.command_line import UNREAD, Parser, ends_with_its_reader
from steerstream.errors import (
    AccessDenied,
    AnswerTimeout,
    ErrorReason,
    MediaError,
    OutputLost,
    SessionLost,
    SessionTakenOver,
)
from tests.steerstream.command_lines import served

ROOT = Path(__file__).resolve().parents[2]

BEARER = "The call needs one header 'authorization: Bearer TOKEN'"


def parser() -> Parser:
    top = Parser(prog="python -m tool")
    top.add_argument("--port-file")
    top.add_subparsers(required=True).add_parser("go").add_argument("--seconds", type=float)
    return top


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--wat", "go"], "tool: unrecognized arguments: --wat; see python -m tool --help\n"),
        (["--port", "5", "go"], "tool: argument {go}: invalid choice: '5'"),
        (
            ["go", "--sec", "5"],
            "tool go: unrecognized arguments: --sec 5; see python -m tool go --help\n",
        ),
        (
            ["go", "--seconds"],
            "tool go: argument --seconds: expected one argument; see python -m tool go --help\n",
        ),
    ],
)
def test_a_mistake_is_one_line_with_the_commands_name(arguments, line, capsys):
    with pytest.raises(SystemExit) as stop:
        parser().parse_args(arguments)
    assert stop.value.code == command_line.CANNOT_START
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (command_line.positive, "0.5", 0.5),
        (command_line.not_negative, "0", 0.0),
        (command_line.share, "1", 1.0),
        (command_line.count, "1", 1),
        (command_line.whole, "0", 0),
    ],
)
def test_a_number_is_read(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (command_line.positive, ("0", "-1")),
        (command_line.not_negative, ("-1",)),
        (command_line.share, ("-0.1", "1.1")),
        (command_line.count, ("0", "-1", "1.5")),
        (command_line.whole, ("-1", "1.5", "٣")),
    ],
)
def test_text_that_is_no_such_number_is_refused(kind, texts):
    for text in (*texts, "", "five", "nan", "inf", "-inf", "1e999"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"not '{text}'"):
            kind(text)


def test_sigterm_interrupts_as_ctrl_c_does_and_only_in_its_block():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), command_line.sigterm_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_calls_a_function_while_the_block_runs(number):
    before, came = signal.getsignal(number), asyncio.Event()
    with command_line.at_interrupt(came.set):
        os.kill(os.getpid(), number)
        await came.wait()
    assert signal.getsignal(number) is before


def test_an_output_is_a_path_that_can_be_written(tmp_path):
    assert command_line.output_file(str(tmp_path / "new" / "file")) == tmp_path / "new" / "file"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(argparse.ArgumentTypeError, match=r"cannot write .*: Is a directory"):
        command_line.output_file(str(tmp_path))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SessionLost("it died"), command_line.BROKE_OFF),
        (AnswerTimeout("too late"), command_line.BROKE_OFF),
        (OutputLost("the disk is full"), command_line.BROKE_OFF),
        (MediaError("no such folder"), command_line.CANNOT_START),
        (OSError("no such file"), command_line.CANNOT_START),
    ],
)
def test_a_loss_on_the_way_has_another_exit_code_than_a_failed_start(error, code):
    assert command_line.exit_code(error) == code


@pytest.mark.parametrize(
    ("text", "options", "ends"),
    [
        (BEARER, {"token_file": None}, "(--token-file FILE sends the one in a file)"),
        (BEARER, {"token_file": "token"}, "Bearer TOKEN'"),
        (BEARER, {}, "Bearer TOKEN'"),
        ("The call shows no certificate", {"token_file": None}, "certificate"),
    ],
)
def test_a_call_without_a_token_is_told_of_the_option_that_sends_one(text, options, ends):
    error = AccessDenied(text, reason=ErrorReason.UNAUTHENTICATED)
    assert command_line.error_text(error, options).endswith(ends)


def test_two_processes_have_vehicles_of_two_names(monkeypatch):
    here = command_line.default_vehicle_id("drive")
    monkeypatch.setattr(os, "getpid", lambda: 7)
    there = command_line.default_vehicle_id("drive")
    assert here != there
    assert there.startswith("steerstream-drive-")
    monkeypatch.setattr("socket.gethostname", lambda: "hôte.example" + 100 * "x")
    assert command_line.default_vehicle_id("drive") == f"steerstream-drive-h-te-example{20 * 'x'}-7"


def test_a_vehicle_whose_name_drives_elsewhere_is_told_of_the_option():
    error = SessionTakenOver("taken over; check that no other program drives under this name")
    said = command_line.error_text(error, {"vehicle_id": "car"})
    assert said == f"{error}, or give --vehicle-id"
    assert command_line.error_text(error, {}) == str(error)


def test_a_lost_server_is_an_argument_for_a_second_one():
    error = SessionLost("the connection to the server was lost; open a new session")
    said = command_line.error_text(error, {"targets": ["a:1"]})
    assert said == "the connection to the server was lost; give a second --target to go on there"
    assert command_line.error_text(error, {"targets": ["a:1", "b:1"]}) == str(error)


def unread(*words: object) -> tuple[int, str]:
    """Run the command where nobody reads its output; return its exit code and stderr."""
    reads, writes = os.pipe()
    os.close(reads)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "steerstream", *map(str, words)],
            cwd=ROOT,
            # argparse is silent by itself where its text is not buffered.
            env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
            stdout=writes,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        os.close(writes)
    return result.returncode, result.stderr


@pytest.mark.parametrize(
    "words", [["--help"], ["simulate", "--help"], ["serve", "--explain-bounds"]], ids=" ".join
)
def test_a_command_whose_output_nobody_reads_ends_without_a_word(words):
    assert unread(*words) == (UNREAD, "")


def test_so_does_one_that_asks_a_server():
    with served() as target:
        assert unread("models", "--target", target) == (UNREAD, "")


def test_a_pipe_of_another_reader_that_breaks_is_an_error_as_before(monkeypatch):
    with Path(os.devnull).open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(BrokenPipeError), ends_with_its_reader():
            raise BrokenPipeError


def test_a_program_without_an_output_needs_no_reader(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with ends_with_its_reader():
        pass
