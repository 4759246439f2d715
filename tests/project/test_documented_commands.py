"""The commands in the documents' code blocks: each is one that the program understands."""

from __future__ import annotations

import re
import shlex

import pytest

import benchmark.__main__
import model_export.__main__
import steerstream.__main__
import steerstream_simulation.command
from steerstream_service.process import command as serve
from tests.project.test_command_lines import PROJECT
from tests.project.test_repository import ROOT, read_text, tracked_files

PARSERS = {
    "steerstream serve ": serve._parser,
    "steerstream simulate ": steerstream_simulation.command._parser,
    "steerstream ": steerstream.__main__._parser,
    "python -m model_export ": model_export.__main__._parser,
    "python -m benchmark ": benchmark.__main__.parser,
}


def documented_commands() -> list[tuple[str, str]]:
    """Document and line of each command in a code block."""
    return [
        (str(path.relative_to(ROOT)), line)
        for path in tracked_files()
        if path.suffix == ".md"
        for block in re.findall(r"```\w*\n(.*?)```", read_text(path), flags=re.DOTALL)
        for line in re.sub(r"\\\n\s*", "", block).splitlines()
        if line.startswith(("steerstream ", "python -m ", "pip ", "make "))
    ]


@pytest.mark.parametrize(("document", "line"), documented_commands())
def test_a_documented_command_is_understood(document, line):
    for command in line.split(" && "):
        if command.startswith("make "):
            target = shlex.split(command, comments=True)[1]
            assert re.search(rf"^{target}:", read_text(ROOT / "Makefile"), flags=re.MULTILINE)
        elif command.startswith("pip "):
            extras = re.findall(r"\.\[([\w,]+)\]", command)
            assert set(",".join(extras).split(",")) <= {"", *PROJECT["optional-dependencies"]}
        else:
            start = next(start for start in PARSERS if command.startswith(start))
            arguments = shlex.split(command.removeprefix(start), comments=True)
            if {"--help", "--version"} & set(arguments):
                with pytest.raises(SystemExit, match=r"^0$"):
                    PARSERS[start]().parse_args(arguments)
            else:
                PARSERS[start]().parse_args(arguments)


def test_the_readme_shows_every_part_of_the_program():
    shown = [line for document, line in documented_commands() if document == "README.md"]
    for start in ("steerstream serve", "steerstream drive", "steerstream simulate", "python -m"):
        assert any(line.startswith(start) for line in shown)
