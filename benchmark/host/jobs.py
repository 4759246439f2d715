"""Processes that do jobs on request: one line of JSON in, one line of JSON out.

They stay alive between jobs, so that no measurement pays for imports or for a cold cache. Both ends
stand here: `serve` in the process that works, `Helper` in the one that asks.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from benchmark.errors import JobError

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
SOURCES = tuple(str(ROOT / folder) for folder in ("", "bundle", "service", "simulation"))
"""Folders from which a process in another environment imports this project."""
_STOP_S = 10.0
_LONGEST_TEXT = 500


def serve(jobs: Mapping[str, Callable[..., Any]]) -> None:
    """Do jobs by name until standard input ends. What a job prints goes to standard error."""
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            request = json.loads(line)
            try:
                tell(jobs[request["job"]](**request["arguments"]))
            except Exception as error:  # noqa: BLE001 - told to the other end, with its type
                _write({"error": f"{type(error).__name__}: {error}"[:_LONGEST_TEXT]})


def tell(result: Any) -> None:  # noqa: ANN401 - values of JSON
    """Answer the other end with a result."""
    _write({"result": result})


def _write(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=sys.__stdout__, flush=True)


class Helper:
    """The other end of `serve`.

    Args:
        process: it, with pipes for standard input and output.
        name: what it is, for errors.
    """

    def __init__(self, process: subprocess.Popen[str], name: str) -> None:
        self._process = process
        self._name = name
        self.pid = process.pid

    def do(self, job: str, **arguments: Any) -> Any:  # noqa: ANN401 - values of JSON
        """Do one job and return its result.

        Raises:
            JobError: the job failed, or the process ended.
        """
        self.begin(job, **arguments)
        return self.result()

    def begin(self, job: str, **arguments: Any) -> None:  # noqa: ANN401 - values of JSON
        """Start a job without waiting for its result."""
        pipe = _pipe(self._process.stdin)
        # If the process has ended, reading its answer says so.
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps({"job": job, "arguments": arguments}) + "\n")
            pipe.flush()

    def result(self) -> Any:  # noqa: ANN401 - values of JSON
        """Wait for the job that `begin` started.

        Raises:
            JobError: the job failed, or the process ended.
        """
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise JobError(f"{self._name} has ended; what it said stands above")
        answer = json.loads(line)
        if "error" in answer:
            raise JobError(answer["error"])
        return answer["result"]


@contextlib.contextmanager
def helper(
    module: str,
    arguments: Sequence[str] = (),
    *,
    cores: Sequence[int],
    python: Path | str = sys.executable,
    niceness: int = 0,
) -> Iterator[Helper]:
    """Run a module that serves jobs until the context ends.

    Args:
        module: its name; `python -m` runs it.
        arguments: of its command line.
        cores: where it runs.
        python: the interpreter, of this or another environment.
        niceness: how far it yields to other processes; see nice(1).
    """
    process = subprocess.Popen(  # noqa: S603 - our own modules
        [python, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        # Before its first thread: the interpreter itself takes longer to start.
        os.sched_setaffinity(process.pid, cores)
        if niceness:
            os.setpriority(os.PRIO_PROCESS, process.pid, os.nice(0) + niceness)
        yield Helper(process, module)
    finally:
        _end(process)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a process that imports this project, on one thread a library."""
    path = os.pathsep.join(filter(None, (*SOURCES, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(extra or {})}


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(BrokenPipeError):
        _pipe(process.stdin).close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _pipe(process.stdout).close()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise RuntimeError("the process was started without this pipe")
    return pipe
