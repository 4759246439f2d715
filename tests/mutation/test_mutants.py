"""The mutants are those that are meant, and a verdict is what the tests say."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.mutation import __main__ as command
from tests.mutation import fork
from tests.mutation.mutants import mutants, names
from tests.project.test_repository import ROOT

SOURCE = '''
"""A module."""
from __future__ import annotations
LIMIT: float = 2.5

class Gate:
    """A class."""

    @property
    def is_open(self) -> bool:
        """A docstring."""
        return not self.count and LIMIT > 3

    def add(self, number: int = 1) -> None:
        self.count += number
        note("a text for people", "word")
'''
CHECKSUM = Path("steerstream/checksum.py")


def test_every_small_fault_is_a_mutant():
    assert names(SOURCE) == [
        "module: 2.5 -> 3.5",
        "Gate.is_open: return not self.count and LIMIT > 3 -> return None",
        "Gate.is_open: not self.count and LIMIT > 3 -> not self.count or LIMIT > 3",
        "Gate.is_open: not self.count -> self.count",
        "Gate.is_open: LIMIT > 3 -> LIMIT >= 3",
        "Gate.is_open: 3 -> 4",
        "Gate.add: 1 -> 2",
        "Gate.add: self.count += number -> self.count -= number",
        "Gate.add: self.count += number -> self.count = number",
        "Gate.add: note('a text for people', 'word') -> pass",
        "Gate.add: note('a text for people', 'word') -> note('word')",
        "Gate.add: note('a text for people', 'word') -> note('a text for people')",
        "Gate.add: 'word' -> 'XXwordXX'",
    ]


def test_a_mutant_differs_from_its_module_in_one_place():
    found = {}
    for mutant in mutants("def f(a, b):\n    return a < b, a + b\n", "module.py"):
        namespace: dict[str, Any] = {}
        exec(mutant.code, namespace)
        found[mutant.name] = namespace["f"](2, 2)
    assert found == {
        "f: return (a < b, a + b) -> return None": None,
        "f: a < b -> a <= b": (True, 4),
        "f: a + b -> a - b": (False, 0),
    }


# In a process of its own, and with what the command itself imports.
VERDICTS = """
from pathlib import Path
import tests.mutation.__main__
from tests.mutation.fork import Mirror
path = Path("steerstream/checksum.py")
source = path.read_text()
for changed in (source, source.replace("& 0xFF", "& 0xFE"), source + "raise OSError"):
    print(Mirror(path).pass_with(compile(changed, path, "exec")))
nowhere = Mirror(path)
nowhere._name = "steerstream.nowhere"
nowhere.pass_with(compile(source, path, "exec"))
"""


def test_a_module_passes_its_own_tests_a_fault_does_not_and_what_is_not_loaded_has_no_verdict():
    result = subprocess.run(
        [sys.executable, "-c", VERDICTS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stdout.split() == ["True", "False", "False"]
    assert "RuntimeError" in result.stderr
    assert "exit code 70" in result.stderr


# Each is the whole of a module's tests.
ENDS = {
    "a test that fails": "def test(): assert False",
    "a file that cannot be imported": "import nowhere",
    "no end": "def test():\n    while True: pass",
    "no memory": "def test(): os.kill(os.getpid(), signal.SIGKILL)",
    "a crash": "def test(): os.abort()",
    "Ctrl-C": "def test(): os.kill(os.getpid(), signal.SIGINT)",
    "no test": "",
}
JUDGED = """
import json, sys
from pathlib import Path
from tests.mutation import __main__, fork
path = Path("steerstream/checksum.py")
code = compile(path.read_text(), path, "exec")
tests = fork.Mirror(path)
for name, text in json.load(sys.stdin).items():
    fork._MAX_CPU_S = 1 if name == "no end" else 60
    tests.tests = Path(sys.argv[1], "test_it.py")
    tests.tests.write_text("import os, signal, steerstream.checksum\\n" + text)
    try:
        print(name, tests.pass_with(code), sep=": ")
    except RuntimeError as error:
        print(name, str(error).rpartition(": ")[2], sep=": ")
__main__.Mirror = lambda module: tests
tests.tests.write_text("import steerstream.checksum, nowhere")
__main__.VERDICTS = Path(sys.argv[1])
verdicts = __main__.Verdicts(path, keep_killed=False)
try:
    __main__.judge(path, verdicts, {})
except RuntimeError as error:
    print(error, verdicts.survived)
"""


def test_only_a_failing_test_and_no_end_say_that_code_is_bad_and_only_where_good_code_passes(
    tmp_path,
):
    result = subprocess.run(
        [sys.executable, "-c", JUDGED, tmp_path],
        cwd=ROOT,
        input=json.dumps(ENDS),
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, judged = result.stdout.splitlines()
    assert dict(line.split(": ") for line in lines) == {
        "a test that fails": "False",
        "a file that cannot be imported": "False",
        "no end": "False",
        "no memory": "ended by SIGKILL",
        "a crash": "ended by SIGABRT",
        "Ctrl-C": "exit code 2",
        "no test": "exit code 5",
    }
    assert "test_it.py fails without a fault in steerstream/checksum.py" in judged
    assert judged.endswith("{}"), "nothing is kept of it"


BUSY = """
from threading import Thread
thread = Thread(target=sum, args=[range(10**7)])
thread.start()
thread.join()
raise SystemExit(7)
"""
DYING = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.parametrize(
    ("program", "status"),
    [("import time; time.sleep(600)", None), (BUSY, 7), (DYING, -signal.SIGKILL)],
)
def test_a_mutant_that_sleeps_on_is_ended_and_one_that_works_is_waited_for(
    monkeypatch, program, status
):
    monkeypatch.setattr(fork, "_LOOK_S", 0.002)
    with subprocess.Popen([sys.executable, "-c", program]) as child:
        assert fork._status(child.pid) == status


class Known(command.Verdicts):
    """Verdicts that need no run."""

    def __init__(self, *survivors: str) -> None:
        self.survived = {name: name in survivors for name in names((ROOT / CHECKSUM).read_text())}


def test_a_survivor_has_to_be_excused_and_an_excuse_has_to_be_true(capsys):
    one = "fields_checksum: 255 -> 256"
    assert command.judge(CHECKSUM, Known(), {})
    assert not command.judge(CHECKSUM, Known(one), {})
    said = capsys.readouterr()
    assert re.search(rf"survived: {CHECKSUM}:\d+: {re.escape(one)}", said.out)
    assert re.search(r"checksum: \S+ 1/\d+ mutants", said.err)
    assert command.judge(CHECKSUM, Known(one), {one: "a reason"})
    assert not command.judge(CHECKSUM, Known(), {one: "a reason"})
    assert f"listed, but killed: steerstream/checksum.py: {one}" in capsys.readouterr().out
    assert not command.judge(CHECKSUM, Known(), {"f: a -> b": "a reason"})
    assert "listed, but gone" in capsys.readouterr().out


def test_too_many_survivors_are_too_many_even_with_excuses():
    known = Known()
    known.survived = dict.fromkeys(known.survived, True)
    assert not command.judge(CHECKSUM, known, dict.fromkeys(known.survived, "a reason"))


def test_verdicts_outlive_a_run_that_was_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "VERDICTS", tmp_path)
    first = command.Verdicts(CHECKSUM, keep_killed=False)
    first.add("a", survived=True)
    first.add("b", survived=False)
    assert command.Verdicts(CHECKSUM, keep_killed=False).survived == {"a": True, "b": False}
    monkeypatch.setattr(command, "_digest", lambda *_: "another")
    assert command.Verdicts(CHECKSUM, keep_killed=False).survived == {}
    assert command.Verdicts(CHECKSUM, keep_killed=True).survived == {"b": False}


def test_tests_are_the_same_while_all_that_they_import_of_tests_is(tmp_path, monkeypatch):
    assert fork.Mirror(Path("steerstream/view.py")).files == [
        Path("tests/conftest.py"),
        Path("tests/steerstream/cameras.py"),
        Path("tests/steerstream/test_view.py"),
        Path("tests/steerstream/views.py"),
    ]
    test, helper = tmp_path / "test_it.py", tmp_path / "helper.py"
    test.write_text("import helper")
    helper.write_text("")
    monkeypatch.setattr(command, "VERDICTS", tmp_path)
    monkeypatch.setattr(command, "Mirror", lambda _: SimpleNamespace(files=[test, helper]))
    command.Verdicts(CHECKSUM, keep_killed=False).add("a", survived=True)
    assert command.Verdicts(CHECKSUM, keep_killed=False).survived == {"a": True}
    helper.write_text("weaker = True")
    assert command.Verdicts(CHECKSUM, keep_killed=False).survived == {}


@pytest.mark.parametrize("module", command.KERNEL)
def test_every_excuse_is_of_a_mutant_that_there_is(module):
    excused = tomllib.loads(command.SURVIVORS.read_text()).get(module, {})
    assert all(excused.values())
    assert excused.keys() <= {*names((ROOT / module).read_text())}


def test_only_modules_of_the_kernel_have_excuses():
    assert tomllib.loads(command.SURVIVORS.read_text()).keys() <= {*command.KERNEL}
