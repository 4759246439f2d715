"""Runs a module's tests in a fork of this process, with other code in the module's place."""

from __future__ import annotations

import ast
import gc
import importlib
import importlib.abc
import importlib.machinery
import os
import resource
import select
import signal
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import hypothesis
import pytest

from tests.project.test_repository import ROOT
from tests.project.test_structure import mirror

_SLOW_TO_IMPORT = ("cryptography", "cv2", "google.protobuf", "grpc.aio", "numpy")
"""Imported once, so that no child has to; no part of this project is among them."""

_MAX_CPU_S = 60
"""Far above what any of the tests takes: a mutant that runs longer does not end, and SIGXCPU ends
it. The kernel kills what goes on after that, a second later, with the signal that also says that
memory ran out."""
_LOOKS, _LOOK_S = 60, 1.0
"""A mutant that is asleep at so many looks does not end either. On a busy machine it is runnable
and not asleep while it waits for a core, and a machine that stands still takes no looks, so no
verdict depends on how fast the tests run."""
_MAX_BYTES = 8 << 30
_EXAMPLES = 25
"""Of each property, unless its test asks for others. A fault that needs more shows a test that
should be more exact."""
_NOT_LOADED = 70
_OPTIONS = (
    "-x",
    # A test file that cannot be imported fails like a test, and what is interrupted does not.
    "--continue-on-collection-errors",
    "--assert=plain",
    "-pno:cacheprovider",
    "-pno:cov",
    "-otimeout=0",
)


class Mirror:
    """The tests of one module.

    Args:
        module: the file, relative to the checkout.
    """

    def __init__(self, module: Path) -> None:
        for name in _SLOW_TO_IMPORT:
            importlib.import_module(name)
        # Each child collects garbage, and would look at all of this and copy its pages.
        gc.freeze()
        self.tests = mirror(module)
        package = module.with_suffix("").parts
        self._name = ".".join(package if package[0] == "steerstream" else package[1:])

    @property
    def files(self) -> list[Path]:
        """The test file, what it imports of other tests, and what pytest reads beside them."""
        folders = self.tests.parents[:-1]
        files = [ROOT / folder / "conftest.py" for folder in folders]
        found = [self.tests, *(file.relative_to(ROOT) for file in files if file.exists())]
        for file in found:  # It grows at its end.
            found += [helper for helper in _helpers(file) if helper not in found]
        return sorted(found)

    def pass_with(self, code: types.CodeType) -> bool:
        """Whether all tests pass with this code in place of the module's.

        They do not where one fails, where the test file cannot be imported, or where they do not
        end. Anything else that ends them says nothing of the code.

        Raises:
            RuntimeError: the tests could not be run, never loaded the module, or were ended by
                something else, such as for want of memory.
        """
        child = os.fork()
        if child == 0:
            self._run(code)
        status = _status(child)
        if status is None or status == -signal.SIGXCPU:
            return False
        match status:
            case pytest.ExitCode.OK:
                return True
            case pytest.ExitCode.TESTS_FAILED:
                return False
        how = f"exit code {status}" if status >= 0 else f"ended by {signal.Signals(-status).name}"
        raise RuntimeError(f"{self.tests} with {self._name}: {how}")

    def _run(self, code: types.CodeType) -> NoReturn:
        status = _NOT_LOADED
        try:
            _limit()
            _forget_the_project()
            put = _InPlace(self._name, code)
            sys.meta_path.insert(0, put)
            status = int(pytest.main([*_OPTIONS, str(ROOT / self.tests)]))
            if not put.loaded:
                status = _NOT_LOADED
        finally:
            os._exit(status)


class _InPlace(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module other code."""

    def __init__(self, name: str, code: types.CodeType) -> None:
        self._name = name
        self._code = code
        self.loaded = False

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=self._code.co_filename)

    def exec_module(self, module: types.ModuleType) -> None:
        self.loaded = True
        exec(self._code, module.__dict__)


def _helpers(file: Path) -> set[Path]:
    """Return the modules of the tests that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    paths = (
        Path(*name.split(".")).with_suffix(".py") for name in names if name.startswith("tests.")
    )
    return {path for path in paths if (ROOT / path).exists()}


def _status(child: int) -> int | None:
    """Wait for a process, and kill it if it does not end.

    Returns:
        Its exit code, or the signal that ended it as a negative number; None if it was killed here.
    """
    pidfd = os.pidfd_open(child)
    try:
        asleep = 0
        while not select.select([pidfd], [], [], _LOOK_S)[0]:
            asleep += _is_asleep(child)
            if asleep == _LOOKS:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return None if asleep >= _LOOKS and status == -signal.SIGKILL else status
    finally:
        os.close(pidfd)


def _is_asleep(process: int) -> bool:
    """Whether all threads of a process wait for something else than a core."""
    try:
        threads = [stat.read_text() for stat in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:  # A thread has just ended.
        return False
    # The state comes after the name, which stands in parentheses and may hold any character.
    return all(text.rpartition(") ")[2].startswith("S") for text in threads)


def _forget_the_project() -> None:
    """Have this project's packages imported again: what uses the module must find the new one."""
    for name in [*sys.modules]:
        if name.startswith("steerstream"):
            del sys.modules[name]


def _limit() -> None:
    """Let this process neither run forever nor take all memory, be quiet, and be repeatable."""
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_CPU_S, _MAX_CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_BYTES, _MAX_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        os.dup2(nowhere, number)
    hypothesis.settings.register_profile(
        "mutants",
        database=None,
        deadline=None,
        derandomize=True,
        max_examples=_EXAMPLES,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutants")
