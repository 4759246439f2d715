from __future__ import annotations

import grpc
import pytest

from steerstream import (
    BadRequest,
    ConnectionFailed,
    ErrorReason,
    ProtocolError,
    ServerDraining,
    SessionBadRequest,
    SessionEnded,
    SessionExpired,
    SessionLost,
    SessionRefused,
    SessionShed,
    UnknownModel,
)
from steerstream.failures import RpcFailed, call_error, session_error

Code, Reason = grpc.StatusCode, ErrorReason


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (Code.INVALID_ARGUMENT, Reason.NOT_OPEN, BadRequest),
        (Code.INVALID_ARGUMENT, Reason.INVALID_FIELD, BadRequest),
        (Code.INVALID_ARGUMENT, Reason.BAD_TICKET, BadRequest),
        (Code.NOT_FOUND, Reason.UNKNOWN_MODEL, UnknownModel),
        (Code.RESOURCE_EXHAUSTED, Reason.TOO_MANY_SESSIONS, SessionRefused),
        (Code.FAILED_PRECONDITION, Reason.BUDGET_TOO_SMALL, SessionRefused),
        (Code.UNAVAILABLE, Reason.DRAINING, ServerDraining),
        (Code.UNAVAILABLE, Reason.UNSPECIFIED, ConnectionFailed),
        (Code.UNIMPLEMENTED, Reason.UNSPECIFIED, ProtocolError),
        (Code.UNAUTHENTICATED, Reason.UNSPECIFIED, SessionRefused),
        (Code.DEADLINE_EXCEEDED, Reason.UNSPECIFIED, ConnectionFailed),
        (Code.RESOURCE_EXHAUSTED, Reason.UNSPECIFIED, SessionRefused),
    ],
)
def test_every_status_of_a_call_has_its_error(code, reason, kind):
    error = call_error(RpcFailed(code, "what went wrong.", reason=reason, retry_after_s=2.0))
    assert type(error) is kind
    assert (error.code, error.reason, error.retry_after_s) == (code, reason, 2.0)
    assert str(error).startswith("what went wrong; ")


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (Code.DEADLINE_EXCEEDED, Reason.IDLE, SessionExpired),
        (Code.INTERNAL, Reason.INTERNAL, SessionLost),
        (Code.UNAVAILABLE, Reason.UNSPECIFIED, SessionLost),
        (Code.UNAVAILABLE, Reason.DRAINING, ServerDraining),
        (Code.UNAVAILABLE, Reason.SHED, SessionShed),
        (Code.INVALID_ARGUMENT, Reason.INVALID_FIELD, SessionBadRequest),
        (Code.RESOURCE_EXHAUSTED, Reason.UNSPECIFIED, SessionBadRequest),
    ],
)
def test_every_status_of_a_session_has_its_error(code, reason, kind):
    assert type(session_error(RpcFailed(code, "gone", reason=reason))) is kind


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_whatever_ends_an_open_session_is_a_session_ended(code, reason):
    assert isinstance(session_error(RpcFailed(code, "gone", reason=reason)), SessionEnded)


def test_a_refused_message_of_a_session_is_a_bad_request_as_well():
    assert issubclass(SessionBadRequest, BadRequest)


def test_a_reason_of_a_newer_server_is_read_as_unspecified():
    assert ErrorReason("ERROR_REASON_OF_TOMORROW") is ErrorReason.UNSPECIFIED
