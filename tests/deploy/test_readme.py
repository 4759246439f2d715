"""The operator's way in deploy/README.md, and the sums of deploy/capacity.md."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy import dockerfile
from tests.deploy.fleet import BUNDLE, SETTINGS, free_port
from tests.deploy.tools import DEPLOY, ROOT, tool
from tests.service import processes

README = DEPLOY / "README.md"
CAPACITY = DEPLOY / "capacity.md"
NOT_RUN = "not run here"
IN_IMAGE = "run with the image's steps"
UNTIL_STOPPED = "until Ctrl-C"
TOOLS = ("envoy", "helm", "kubernetes-validate", "promtool", "hadolint", "check-jsonschema")


def commands() -> list[tuple[str, str]]:
    """Each command of a code block, and the remark behind it."""
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(), flags=re.DOTALL)
    lines = "".join(blocks).splitlines()
    split = (line.partition("  #") for line in lines)
    return [(command.strip(), remark.strip()) for command, _, remark in split]


RUN = [command for command, remark in commands() if not remark]
STAYS = [command for command, remark in commands() if remark == UNTIL_STOPPED]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What stands for the paths and ports of a machine: a folder, and a server that runs."""
    root = tmp_path_factory.mktemp("machine")
    (root / "etc/steerstream").mkdir(parents=True)
    program = root / "opt/steerstream/bin/steerstream"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m steerstream "$@"\n')
    program.chmod(0o755)
    metrics = f"127.0.0.1:{free_port()}"
    options = ("--model", BUNDLE, "--config", SETTINGS, "--metrics", metrics)
    with processes.process(*options, folder=root) as (_, address):
        yield {
            "sudo ": "",
            "/opt/": f"{root}/opt/",
            "/etc/": f"{root}/etc/",
            "localhost:50051": address,
            "localhost:50050": address,
            "localhost:9464": metrics,
            "127.0.0.1:8080": "127.0.0.1:0",
        }


def here(command: str, machine: dict[str, str]) -> str:
    """The command with this machine's paths, ports and Python."""
    for place, ours in machine.items():
        command = command.replace(place, ours)
    return re.sub(r"^steerstream ", f"{sys.executable} -m steerstream ", command)


@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_readme_works(command: str, machine: dict[str, str]) -> None:
    command = here(command, machine)
    folders = {str(Path(tool(name)).parent) for name in TOOLS if re.search(rf"\b{name} ", command)}
    path = os.pathsep.join([*folders, os.environ["PATH"]])
    result = subprocess.run(
        ["sh", "-euc", command],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("command", STAYS)
def test_a_page_of_the_readme_is_there_until_it_is_stopped(
    command: str, machine: dict[str, str]
) -> None:
    process = subprocess.Popen(
        shlex.split(here(command, machine)), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().rpartition(" ")[2]
            with urllib.request.urlopen(url) as page:
                assert page.status == 200
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


def test_the_program_is_called_where_it_was_installed() -> None:
    """By its path on a server; by its name alone where pip has just put it on the PATH."""
    lines = [command for command, _ in commands()]
    (at,) = (at for at, line in enumerate(lines) if line.startswith("pip install "))
    found = re.search(r"\[(.*)\]", lines[at])
    assert found is not None
    extras = found[1].split(",")
    for number, line in enumerate(lines):
        if line.startswith("steerstream "):
            assert number > at, f"{line}: not on the PATH"
            needed = {"simulate": "sim", "watch": "watch"}.get(line.split()[1])
            assert needed is None or needed in extras


def test_every_other_command_says_where_it_was_run() -> None:
    remarks = {remark.partition(":")[0] for _, remark in commands() if remark}
    assert remarks == {NOT_RUN, IN_IMAGE, UNTIL_STOPPED}
    assert len(RUN) >= 15


def test_the_packages_are_those_of_the_image() -> None:
    making, command = (command for command, remark in commands() if remark == IN_IMAGE)
    steps = dockerfile.instructions(DEPLOY / "docker/Dockerfile")
    (extras,) = (value for name, value in steps if name == "ARG")
    (step,) = (value for name, value in steps if name == "RUN")
    assert "-m venv /opt/steerstream" in making
    assert "-m venv /opt/steerstream" in step
    python = "/opt/steerstream/bin/python -m pip install"
    assert python in command
    assert python in step
    assert f'-c constraints.txt ".[{extras.partition("=")[2]}]"' in command
    assert '-c constraints.txt ".[$EXTRAS]"' in re.sub(r"\s+", " ", step)


def sums() -> list[tuple[str, str]]:
    return re.findall(r"^    ([\d*/+(). -]+) = ([\d.]+)$", CAPACITY.read_text(), flags=re.MULTILINE)


def test_the_capacity_page_has_no_line_that_is_no_sum() -> None:
    indented = re.findall(r"^    \S.*$", CAPACITY.read_text(), flags=re.MULTILINE)
    assert len(indented) == len(sums()) > 20


@pytest.mark.parametrize(("left", "right"), sums())
def test_a_sum_of_the_capacity_page_is_right(left: str, right: str) -> None:
    digits = len(right.partition(".")[2])
    assert round(eval(left, {"__builtins__": {}}), digits) == float(right)
