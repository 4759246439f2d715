"""Refusals are in the log, and no crowd can fill it."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from steerstream.v1 import session_pb2
from steerstream_service.errors import InvalidFieldError, TooManySessionsError
from steerstream_service.transport.refusal_log import LINE_EVERY_S, Refusals
from tests.service import bundles
from tests.service.transport.line_windows import ended_by_hand, lines_of
from tests.service.vehicle import Vehicle, running


@pytest.fixture
def lines(caplog):
    return lines_of(caplog, "streams_refused")


@pytest.fixture
def second_is_over(monkeypatch):
    """Has a line come when it is called, in place of a second later."""
    return ended_by_hand(monkeypatch, LINE_EVERY_S)


def test_a_flood_of_refusals_is_one_line_with_counts_by_reason(lines, second_is_over):
    noted = Refusals()
    for number in range(1000):
        noted.note(TooManySessionsError(f"no room for {number}"), "10.0.0.1")
    noted.note(InvalidFieldError("open.budget_ms must be at least 0"), "10.0.0.2")
    assert lines() == []
    second_is_over()
    assert lines() == [
        {
            "refused": 1001,
            "reasons": {"TOO_MANY_SESSIONS": 1000, "INVALID_FIELD": 1},
            "last": "open.budget_ms must be at least 0",
            "last_address": "10.0.0.2",
        }
    ]


def test_each_line_counts_only_the_refusals_since_the_last_one(lines, second_is_over):
    noted = Refusals()
    for count in (3, 2):
        for _ in range(count):
            noted.note(TooManySessionsError("no room"), None)
        second_is_over()
    assert [line["refused"] for line in lines()] == [3, 2]


def test_without_refusals_there_is_no_line(lines, second_is_over):
    noted = Refusals()
    noted.note(TooManySessionsError("no room"), None)
    noted.flush()
    noted.flush()
    second_is_over()
    assert [line["refused"] for line in lines()] == [1]


def test_a_long_text_of_a_client_is_cut(lines, second_is_over):
    Refusals().note(InvalidFieldError("x" * 10_000), None)
    second_is_over()
    assert len(lines()[0]["last"]) == 200


async def test_a_server_logs_its_last_refusals_before_it_ends(lines, tmp_path):
    async with running(bundles.recurrent(tmp_path / "tiny.onnx"), max_sessions=1) as run:
        driving = await run.vehicle()
        for number in range(3):
            late = Vehicle(run.stub())
            await late.send(open=session_pb2.OpenSession(vehicle_id=f"late-{number}"))
            assert (await late.failure())[1] == "ERROR_REASON_TOO_MANY_SESSIONS"
        assert await driving.done() is grpc.StatusCode.OK
    assert sum(line["refused"] for line in lines()) == 3
    assert {reason for line in lines() for reason in line["reasons"]} == {"TOO_MANY_SESSIONS"}
    assert lines()[-1]["last"] == "all 1 sessions are taken; try again later"
    assert lines()[-1]["last_address"] == "127.0.0.1"


async def test_bytes_that_are_no_message_are_counted(lines, tmp_path):
    async with running(bundles.recurrent(tmp_path / "tiny.onnx")) as run:
        for _ in range(3):
            call: Any = run.channel().stream_stream("/steerstream.v1.DriveService/Drive")()
            await call.write(b"\xff\xff\xff")
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert sum(line["refused"] for line in lines()) == 3
    assert {reason for line in lines() for reason in line["reasons"]} == {"INVALID_FIELD"}
