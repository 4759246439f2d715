from __future__ import annotations

import grpc
import pytest

from steerstream import (
    AccessDenied,
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
    SessionTakenOver,
    TokenExpired,
    UnknownModel,
)
from steerstream.failures import RpcFailed, call_error, session_error
from steerstream.metadata import RETRY_AFTER_KEY

Code, Reason = grpc.StatusCode, ErrorReason


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (Code.INVALID_ARGUMENT, Reason.NOT_OPEN, BadRequest),
        (Code.INVALID_ARGUMENT, Reason.INVALID_FIELD, BadRequest),
        (Code.INVALID_ARGUMENT, Reason.BAD_TICKET, BadRequest),
        (Code.NOT_FOUND, Reason.UNKNOWN_MODEL, UnknownModel),
        (Code.RESOURCE_EXHAUSTED, Reason.TOO_MANY_SESSIONS, SessionRefused),
        (Code.FAILED_PRECONDITION, Reason.BUDGET_TOO_SMALL, BadRequest),
        (Code.UNAVAILABLE, Reason.DRAINING, ServerDraining),
        (Code.UNAVAILABLE, Reason.UNSPECIFIED, ConnectionFailed),
        (Code.UNIMPLEMENTED, Reason.UNSPECIFIED, ProtocolError),
        (Code.UNAUTHENTICATED, Reason.UNSPECIFIED, AccessDenied),
        (Code.UNAUTHENTICATED, Reason.UNAUTHENTICATED, AccessDenied),
        (Code.PERMISSION_DENIED, Reason.FORBIDDEN, AccessDenied),
        (Code.RESOURCE_EXHAUSTED, Reason.SHARE_TAKEN, SessionRefused),
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
        (Code.ABORTED, Reason.TAKEN_OVER, SessionTakenOver),
        (Code.UNAUTHENTICATED, Reason.TOKEN_EXPIRED, TokenExpired),
        (Code.INVALID_ARGUMENT, Reason.INVALID_FIELD, SessionBadRequest),
        (Code.RESOURCE_EXHAUSTED, Reason.UNSPECIFIED, SessionLost),
        (Code.INVALID_ARGUMENT, Reason.UNSPECIFIED, SessionLost),
    ],
)
def test_every_status_of_a_session_has_its_error(code, reason, kind):
    assert type(session_error(RpcFailed(code, "gone", reason=reason))) is kind


@pytest.mark.parametrize(
    ("text", "of_call", "of_session"),
    [
        ("SERVER: Received message larger than max (5 vs. 4)", BadRequest, SessionBadRequest),
        ("Received message larger than max (5 vs. 4)", BadRequest, SessionBadRequest),
        ("Stream removed (CLIENT: Received message larger than max)", SessionRefused, SessionLost),
    ],
)
def test_a_message_that_is_too_large_is_the_fault_of_who_sent_it(text, of_call, of_session):
    failure = RpcFailed(Code.RESOURCE_EXHAUSTED, text)
    assert type(call_error(failure)) is of_call
    assert type(session_error(failure)) is of_session


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_whatever_ends_an_open_session_is_a_session_ended(code, reason):
    assert isinstance(session_error(RpcFailed(code, "gone", reason=reason)), SessionEnded)


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (
            Code.RESOURCE_EXHAUSTED,
            Reason.TOO_MANY_SESSIONS,
            "all 1 sessions are taken; try again later",
        ),
        (
            Code.UNAVAILABLE,
            Reason.DRAINING,
            "the server is stopping; connect to another one",
        ),
        (
            Code.FAILED_PRECONDITION,
            Reason.BUDGET_TOO_SMALL,
            "a budget of 1 ms cannot be kept; ask for 2 ms or more",
        ),
    ],
)
def test_nothing_is_added_to_the_advice_of_the_server(code, reason, text):
    assert str(call_error(RpcFailed(code, text, reason=reason))) == text
    assert str(session_error(RpcFailed(code, text, reason=reason))) == text


def test_who_is_denied_is_sent_to_no_certificate_that_a_server_does_not_ask_for():
    denied = RpcFailed(Code.PERMISSION_DENIED, "not this call", reason=Reason.FORBIDDEN)
    assert str(call_error(denied)) == (
        "not this call; check the vehicle's name, and the certificate or token where one is asked "
        "for"
    )


@pytest.mark.parametrize(
    "text",
    [
        "Stream removed (recvmsg:Connection reset by peer (104))",
        "Socket closed",
        "recvmsg:Connection reset by peer",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: refused",
        "keepalive watchdog timeout",
        "GOAWAY received; Error code: 2; Debug Text: Cancelling all calls",
        "UNAVAILABLE",
    ],
)
def test_a_connection_that_breaks_is_told_in_plain_words(text):
    failure = RpcFailed(Code.UNAVAILABLE, text)
    lost = "the connection to the server was lost"
    assert str(session_error(failure)) == f"{lost}; open a new session"
    assert str(call_error(failure)) == f"{lost}; check the target and that the server runs"


def test_a_call_without_an_answer_is_told_in_plain_words():
    error = call_error(RpcFailed(Code.DEADLINE_EXCEEDED, "Deadline Exceeded"))
    assert str(error).startswith("the server did not answer in time; ")


def test_a_call_that_ends_cancelled_without_a_reason_is_told_in_plain_words():
    failure = RpcFailed.from_status(Code.CANCELLED, "CANCELLED", ())
    ended = "the server ended the call without a reason, as gRPC does where too many come at once"
    assert str(call_error(failure)) == f"{ended}; try again"
    assert str(session_error(failure)) == f"{ended}; open a new session"
    own = RpcFailed(Code.CANCELLED, "the call was ended on this side")
    assert str(session_error(own)) == "the call was ended on this side; open a new session"


def test_the_text_of_a_proxy_is_kept():
    error = call_error(RpcFailed(Code.UNAVAILABLE, "no healthy upstream"))
    assert str(error).startswith("no healthy upstream; ")


def test_a_refused_message_of_a_session_is_a_bad_request_as_well():
    assert issubclass(SessionBadRequest, BadRequest)


def test_a_reason_of_a_newer_server_is_read_as_unspecified():
    assert ErrorReason("ERROR_REASON_OF_TOMORROW") is ErrorReason.UNSPECIFIED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1500", 1.5),
        ("4294967295", 4294967.295),
        ("9" * 11, None),
        ("9" * 400, None),
        ("9" * 5000, None),
        ("-1", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_hint_that_is_no_time_counts_for_nothing(text, seconds):
    trailing = [(RETRY_AFTER_KEY, text)]
    assert RpcFailed.from_status(Code.UNAVAILABLE, "", trailing).retry_after_s == seconds
