"""Handlers of every kind are taken apart and put together again."""

from __future__ import annotations

import contextlib

import grpc
import pytest

from steerstream_service.transport.handlers import behaviour_of, with_behaviour, within

KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


async def answers(request, context):
    context.append("called")
    return request


async def yields(request, context):
    context.append("called")
    yield request
    yield request


def handler(kind, behaviour=answers):
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(behaviour, request_deserializer=len, response_serializer=str)


@contextlib.asynccontextmanager
async def noted(context):
    context.append("before")
    try:
        yield
    finally:
        context.append("after")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_method_does_is_found_whatever_its_kind(kind):
    assert behaviour_of(handler(kind)) is answers


@pytest.mark.parametrize("takes_stream", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_does_something_else_and_stays_what_it_is(kind, takes_stream):
    made = with_behaviour(handler(kind), yields, takes_stream=takes_stream)
    assert behaviour_of(made) is yields
    assert made.request_streaming is takes_stream
    assert made.response_streaming is kind.endswith("stream")
    assert (made.request_deserializer, made.response_serializer) == (len, str)


async def test_a_method_runs_within_its_context():
    context = []
    assert await within(answers, noted)("request", context) == "request"
    assert context == ["before", "called", "after"]
    context.clear()
    assert [answer async for answer in within(yields, noted)("request", context)] == 2 * ["request"]
    assert context == ["before", "called", "after"]


@pytest.mark.parametrize("kind", ["call", "generator"])
async def test_a_context_that_refuses_keeps_a_method_from_being_called(kind):
    @contextlib.asynccontextmanager
    async def refuses(context):
        context.append("refused")
        raise PermissionError
        yield

    context = []
    if kind == "call":
        call = within(answers, refuses)("request", context)
    else:
        call = anext(within(yields, refuses)("request", context))
    with pytest.raises(PermissionError):
        await call
    assert context == ["refused"]
