"""The one parser: one line for a mistake, no abbreviations, numbers that are numbers."""

from __future__ import annotations

import argparse

import pytest

from steerstream import command_line
from steerstream.command_line import Parser


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
        (["go", "--sec", "5"], "tool: unrecognized arguments: --sec 5;"),
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
        (command_line.whole, ("-1", "1.5")),
    ],
)
def test_what_is_no_such_number_is_refused(kind, texts):
    for text in (*texts, "", "five", "nan", "inf", "-inf", "1e999"):
        with pytest.raises(argparse.ArgumentTypeError, match=f"not '{text}'"):
            kind(text)
