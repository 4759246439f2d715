"""A process that does jobs on request: one line of JSON in, one line of JSON out.

It stays alive between jobs, so that no measurement pays for imports or for a cold cache.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmark.peers.cores import pinned
from benchmark.peers.errors import JobError

_STOP_S = 5.0
_LONGEST_TEXT = 500


def serve(jobs: Mapping[str, Callable[..., Any]]) -> None:
    """Do jobs by name until standard input ends. What a job prints goes to standard error."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"result": jobs[request["job"]](**request["arguments"])}
        except Exception as error:  # noqa: BLE001 - told to whoever asked, with its type
            answer = {"error": f"{type(error).__name__}: {error}"[:_LONGEST_TEXT]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


class Worker:
    """The other end of `serve`.

    Args:
        process: it, with pipes for standard input and output.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def do(self, job: str, **arguments: Any) -> Any:  # noqa: ANN401 - whatever the job returns
        """Do one job and return its result.

        Raises:
            JobError: the job failed, or the process ended.
        """
        self.begin(job, **arguments)
        return self.result()

    def begin(self, job: str, **arguments: Any) -> None:  # noqa: ANN401 - JSON values
        """Start a job without waiting for its result."""
        assert self._process.stdin is not None  # noqa: S101 - the pipes are ours
        try:
            self._process.stdin.write(json.dumps({"job": job, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise JobError(f"the process for {job} has ended") from None

    def result(self) -> Any:  # noqa: ANN401 - whatever the job returns
        """Wait for the job that `begin` started.

        Raises:
            JobError: the job failed, or the process ended.
        """
        assert self._process.stdout is not None  # noqa: S101 - the pipes are ours
        line = self._process.stdout.readline()
        if not line:
            raise JobError("the process ended before its job")
        answer = json.loads(line)
        if "error" in answer:
            raise JobError(answer["error"])
        return answer["result"]


@contextlib.contextmanager
def worker(
    command: Sequence[str], *, core: int, environment: Mapping[str, str]
) -> Iterator[Worker]:
    """Run a worker process on one core until the context ends."""
    with pinned(core):
        process = subprocess.Popen(  # noqa: S603 - our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(environment),
        )
    try:
        yield Worker(process)
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None  # noqa: S101 - the pipes are ours
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
