"""Jobs of other processes: results, errors, and processes that end."""

from __future__ import annotations

import os

import pytest

from benchmark.errors import JobError
from benchmark.host.jobs import helper

PROGRAM = "tests.benchmark.host.jobs_program"
CORE = min(os.sched_getaffinity(0))


@pytest.fixture
def program():
    with helper(PROGRAM, ["--an", "option"], cores=[CORE], niceness=1) as started:
        yield started


def test_a_job_returns_its_result_whatever_it_prints(program):
    assert program.do("noisy", value={"a": [1, None]}) == {"a": [1, None]}


def test_a_process_runs_where_and_how_it_was_told(program):
    assert program.do("place") == [[CORE], min(19, os.nice(0) + 1), ["--an", "option"]]


def test_a_job_that_fails_is_an_error_and_the_next_one_runs(program):
    with pytest.raises(JobError, match=r"TypeError: .*unexpected"):
        program.do("noisy", other=1)
    assert program.do("noisy", value=1) == 1


def test_a_process_that_has_ended_is_an_error(program):
    for _ in range(2):
        with pytest.raises(JobError, match="jobs_program has ended"):
            program.do("end")


def test_no_process_is_left_behind():
    with helper(PROGRAM, cores=[CORE]) as started:
        pid = started.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
