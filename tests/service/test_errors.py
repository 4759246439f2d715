"""The numbers and names of the server's errors are those of the wire contract."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import grpc

from steerstream.v1 import session_pb2
from steerstream_service import errors

ROOT = Path(__file__).resolve().parents[2]
STREAM_ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.StreamError) and kind is not errors.StreamError
]


def test_reasons_are_the_wire_contracts():
    wire = {
        name.removeprefix("ERROR_REASON_"): number
        for name, number in session_pb2.ErrorReason.items()
        if number
    }
    assert {reason.name: reason.value for reason in errors.ErrorReason} == wire


def test_every_reason_has_one_error_with_a_status_that_is_no_success():
    reasons = [kind.reason for kind in STREAM_ERRORS]
    assert sorted(reasons) == sorted(errors.ErrorReason)
    assert all(kind.code is not grpc.StatusCode.OK for kind in STREAM_ERRORS)


def test_the_tree_in_the_docstring_is_the_tree():
    lines = errors.__doc__.splitlines()
    for kind in STREAM_ERRORS:
        (line,) = (line for line in lines if kind.__name__ in line)
        assert line.split()[-2:] == [kind.code.name, kind.reason.name]


def test_a_hint_is_kept():
    assert errors.TooManySessionsError("full", retry_after_ms=7).retry_after_ms == 7
    assert errors.TooManySessionsError("full").retry_after_ms is None


def test_the_bounds_in_the_documents_name_each_reason_with_its_code():
    text = (ROOT / "docs/operations.md").read_text()
    table = text.partition("| over the bound | answer |")[2].partition("\n\n")[0]
    codes = {f"ERROR_REASON_{kind.reason.name}": kind.code.name for kind in STREAM_ERRORS}
    named = re.findall(r"`(ERROR_REASON_\w+)`", table)
    pairs = re.findall(r"([A-Z_]+), `(ERROR_REASON_\w+)`", table)
    assert len(pairs) > 10
    assert [reason for _, reason in pairs] == named
    assert [(codes[reason], reason) for reason in named] == pairs
