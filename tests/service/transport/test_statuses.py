"""A typed error ends a call with its status, its reason and its hint."""

from __future__ import annotations

import asyncio
import weakref

import grpc
import pytest

from steerstream_service.errors import ShareTakenError
from steerstream_service.transport.statuses import abort


class Context:
    """Takes down how the call ends."""

    def __init__(self, failure):
        self.failure = failure

    async def abort(self, *ending):
        self.ending = ending
        raise self.failure


@pytest.mark.parametrize(
    ("retry_after_ms", "hint"), [(None, ()), (1500, (("steerstream-retry-after-ms", "1500"),))]
)
async def test_the_client_is_told_status_reason_and_hint(retry_after_ms, hint):
    context = Context(grpc.aio.AbortError())
    with pytest.raises(grpc.aio.AbortError):
        await abort(context, ShareTakenError("end one", retry_after_ms=retry_after_ms))
    reason = (("steerstream-reason", "ERROR_REASON_SHARE_TAKEN"),)
    assert context.ending == (grpc.StatusCode.RESOURCE_EXHAUSTED, "end one", reason + hint)


async def test_where_the_client_is_gone_the_call_is_cancelled():
    with pytest.raises(asyncio.CancelledError):
        await abort(Context(grpc.aio.InternalError()), ShareTakenError("end one"))


async def test_the_error_keeps_nothing_of_the_calls_that_it_went_through():
    """Refused openings of megabytes stayed in memory until a collection."""

    class Message:
        pass

    def parse():
        message = Message()
        held.append(weakref.ref(message))
        int("no number")

    def refuse():
        message = Message()
        held.append(weakref.ref(message))
        try:
            parse()
        except ValueError:
            raise ShareTakenError("end one") from None

    held, errors = [], []
    try:
        refuse()
    except ShareTakenError as error:
        errors.append(error)
    assert None not in [reference() for reference in held]
    with pytest.raises(grpc.aio.AbortError):
        await abort(Context(grpc.aio.AbortError()), errors[0])
    assert [reference() for reference in held] == [None, None]
