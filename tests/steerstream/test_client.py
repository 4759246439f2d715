from __future__ import annotations

import asyncio
import dataclasses
import math
import subprocess
import sys
from typing import Any, cast

import grpc
import pytest

import steerstream
from steerstream import (
    AccessDenied,
    BadRequest,
    Bounds,
    Camera,
    Command,
    ConnectionFailed,
    ErrorReason,
    FramePolicy,
    ProtocolError,
    ServerDraining,
    SessionClosed,
    SessionEnded,
    SessionRefused,
    SteerstreamError,
    TicketIssued,
    UnknownModel,
)
from steerstream.testing import Drop, Fail, FakeServer, FakeTransport, Reply

JPEG = b"\xff\xd8 a picture"


async def test_served_models_are_described():
    server = FakeServer(models=("small", "large"))
    async with steerstream.connect("fake", transport=server.transport()) as client:
        served = await client.describe_models()
    assert [model.name for model in served.models] == ["small", "large"]
    assert served.default_model == "small"
    assert served.limits.max_sessions == 64


_PACKAGES = """
import asyncio, sys
import steerstream
from steerstream.testing import FakeServer
from tests.steerstream.views import VIEW

async def loaded(view):
    async with (
        steerstream.connect("fake", transport=FakeServer(view=view).transport()) as client,
        client.open_session(vehicle_id="car"),
    ):
        return [name for name in ("cv2", "simplejpeg") if name in sys.modules]

print(asyncio.run(loaded(VIEW if sys.argv[1:] else None)))
"""


@pytest.mark.parametrize(("view", "found"), [([], "[]"), (["view"], "['cv2', 'simplejpeg']")])
def test_what_makes_views_is_imported_before_the_first_frame(view, found):
    program = [sys.executable, "-c", _PACKAGES, *view]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found


async def test_a_session_says_what_was_granted():
    server = FakeServer(models=("small", "large"))
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(
            vehicle_id="car-7",
            model="large",
            budget_ms=20.0,
            frame_policy=FramePolicy.EVERY,
            camera=Camera(640, 480),
            ticket=b"sealed",
        ) as session,
    ):
        info = session.info
        opening = server.received[0].open
    assert (info.model.name, info.granted_budget_ms) == ("large", 20.0)
    assert (info.frame_policy, info.resumed) == (FramePolicy.EVERY, True)
    assert (opening.vehicle_id, opening.camera.width_px) == ("car-7", 640)


async def test_a_session_goes_on_with_the_ticket_of_the_one_before():
    server = FakeServer(lambda frame: [Reply(), TicketIssued(b"sealed", frame.sequence_number, 9)])
    async with steerstream.connect("fake", transport=server.transport()) as client:
        async with client.open_session(vehicle_id="car") as session:
            for _ in range(3):
                await session.request(JPEG)
            await session.finish()
            assert [answer async for answer in session]
            ticket = session.ticket
        async with client.open_session(vehicle_id="car", ticket=ticket) as session:
            assert session.info.resumed
            assert await session.send_frame(JPEG) == 3


async def test_a_session_that_is_lost_before_its_first_ticket_has_that_which_it_was_opened_with():
    ticket: TicketIssued | None = TicketIssued(b"sealed", 2, 60_000)
    server = FakeServer()
    async with steerstream.connect("fake", transport=server.transport()) as client:
        for _ in range(2):
            async with client.open_session(vehicle_id="car", ticket=ticket) as session:
                ticket = session.ticket
                assert await session.send_frame(JPEG) == 3
        async with client.open_session(vehicle_id="car", ticket=b"sealed") as session:
            assert session.ticket is None, "the bytes alone do not say which frames they have seen"
            assert await session.send_frame(JPEG) == 0


async def test_a_ticket_whose_state_did_not_come_along_is_not_the_session_s():
    class WithoutState(FakeServer):
        def open(self, opening):
            opened = super().open(opening)
            opened.resumed = False
            return opened

    async with (
        steerstream.connect("fake", transport=WithoutState().transport()) as client,
        client.open_session(vehicle_id="car", ticket=TicketIssued(b"sealed", 2, 9)) as session,
    ):
        assert not session.info.resumed
        assert session.ticket is None


async def test_an_unknown_option_is_named_with_all_that_a_session_of_its_kind_takes():
    options: Any = {"vehicle_id": "car", "budget": 5}
    async with steerstream.connect("fake", transport=FakeServer().transport()) as client:
        with pytest.raises(TypeError, match=r"no option budget; it has .*, ticket$"):
            await client.open_session(**options)
        with pytest.raises(TypeError, match=r"no option budget; it has .*, hand_over, on_change$"):
            await client.drive_session(**options)


async def test_two_sessions_on_one_connection_are_two_sessions():
    server = FakeServer()
    async with (
        steerstream.connect("fake", transport=server.transport()) as client,
        client.open_session(vehicle_id="a") as first,
        client.open_session(vehicle_id="b") as second,
    ):
        assert first.info.session_id != second.info.session_id


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (
            Fail(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "full",
                ErrorReason.TOO_MANY_SESSIONS,
                retry_after_s=1.5,
            ),
            SessionRefused,
        ),
        (Fail(grpc.StatusCode.UNAVAILABLE, "stopping", ErrorReason.DRAINING), ServerDraining),
        (Fail(), ConnectionFailed),
    ],
)
async def test_a_refused_session_says_why_and_leaves_no_task(refusal, kind):
    before = asyncio.all_tasks()
    server = FakeServer(refuse=refusal)
    async with steerstream.connect("fake", transport=server.transport()) as client:
        with pytest.raises(kind) as caught:
            async with client.open_session(vehicle_id="car"):
                pytest.fail("the session must not open")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "one traceback tells it all"
    assert (caught.value.reason, caught.value.retry_after_s) == (
        refusal.reason,
        refusal.retry_after_s,
    )
    assert asyncio.all_tasks() == before


class WarmingUp(FakeServer):
    """Refuses the first sessions as a real server does that warms up."""

    def __init__(self, refusals: int, **refusal: Any) -> None:
        super().__init__()
        self.refusals = [Fail(**{**WARMING_UP, **refusal})] * refusals

    def open(self, opening):
        if self.refusals:
            raise self.refusals.pop().error()
        return super().open(opening)


WARMING_UP: dict[str, Any] = {
    "code": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "message": "the server is warming up; try again later",
    "reason": ErrorReason.TOO_MANY_SESSIONS,
}
GONE: dict[str, Any] = {
    "code": grpc.StatusCode.UNAVAILABLE,
    "message": "no upstream",
    "reason": ErrorReason.UNSPECIFIED,
}


@pytest.mark.parametrize("refusal", [WARMING_UP, GONE, {"retry_after_s": 0.01}])
async def test_an_opening_waits_for_a_server_that_warms_up_where_that_was_asked_for(refusal):
    server = WarmingUp(3, **refusal)
    options: Any = {"transport": server.transport(), "timeout_s": 60.0}
    async with steerstream.connect("fake", **options) as client:
        with pytest.raises((SessionRefused, ConnectionFailed)):
            await client.open_session(vehicle_id="car")
    assert len(server.refusals) == 2
    async with steerstream.connect("fake", **options, wait_for_server=True) as client:
        session = await client.open_session(vehicle_id="car")
        assert isinstance(await session.request(JPEG), Command)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ({"retry_after_s": 3600.0}, SessionRefused),
        ({"reason": ErrorReason.SHARE_TAKEN}, SessionRefused),
        ({"reason": ErrorReason.UNAUTHENTICATED}, AccessDenied),
        ({"reason": ErrorReason.UNKNOWN_MODEL}, UnknownModel),
    ],
)
async def test_an_opening_waits_no_longer_than_it_may_and_for_nothing_else(refusal, error):
    server = WarmingUp(2, **refusal)
    server.refusals.append(Fail(**WARMING_UP))
    options: Any = {"timeout_s": 60.0, "wait_for_server": True}
    async with steerstream.connect("fake", transport=server.transport(), **options) as client:
        with pytest.raises(error, match="warming up"):
            await client.open_session(vehicle_id="car")
    assert len(server.refusals) == 1


async def test_an_unknown_model_is_refused_by_name():
    async with steerstream.connect("fake", transport=FakeServer().transport()) as client:
        with pytest.raises(UnknownModel, match="'nosuch'"):
            async with client.open_session(vehicle_id="car", model="nosuch"):
                pytest.fail("the session must not open")


async def test_a_server_that_never_opens_is_given_up():
    transport = FakeTransport(FakeServer())

    async def silent():
        stream = await FakeTransport.drive(transport)
        stream.send = lambda request: asyncio.sleep(0)
        return stream

    transport.drive = silent
    async with steerstream.connect("fake", transport=transport, timeout_s=0.02) as client:
        with pytest.raises(ConnectionFailed, match=r"did not open the session within 0\.02 s"):
            async with client.open_session(vehicle_id="car"):
                pytest.fail("the session must not open")


async def test_a_stream_that_ends_without_opening_breaks_the_contract():
    transport = FakeTransport(FakeServer())

    async def ending():
        stream = await FakeTransport.drive(transport)
        await stream.finish()
        return stream

    transport.drive = ending
    async with steerstream.connect("fake", transport=transport) as client:
        with pytest.raises(ProtocolError, match="without opening"):
            async with client.open_session(vehicle_id="car"):
                pytest.fail("the session must not open")


async def test_a_client_must_be_connected():
    client = steerstream.connect("fake", transport=FakeServer().transport())
    with pytest.raises(SteerstreamError, match="not connected; await it"):
        await client.describe_models()


async def test_client_and_session_can_be_awaited_and_closed():
    server = FakeServer()
    client = await steerstream.connect("fake", transport=server.transport())
    session = await client.open_session(vehicle_id="car")
    assert isinstance(await session.request(JPEG), Command)
    await session.aclose()
    await session.aclose()
    with pytest.raises(SessionClosed):
        await session.send_frame(JPEG)
    await client.aclose()
    await client.aclose()
    with pytest.raises(SessionClosed, match="the client is closed"):
        await client.describe_models()
    with pytest.raises(SessionClosed, match="the client is closed"):
        await client.open_session(vehicle_id="car")
    with pytest.raises(SteerstreamError, match="connects once"):
        await client


async def test_closing_a_client_closes_its_sessions_and_what_waits_in_them():
    before = asyncio.all_tasks()
    server = FakeServer(lambda frame: Drop())
    client = await steerstream.connect("fake", transport=server.transport())
    sessions = [await client.open_session(vehicle_id=f"car-{number}") for number in range(3)]
    waiting = [asyncio.create_task(session.request(JPEG)) for session in sessions]
    reading = [asyncio.create_task(anext(session, None)) for session in sessions]
    await asyncio.sleep(0)
    await client.aclose()
    for task in waiting:
        with pytest.raises(SessionEnded):
            await task
    assert await asyncio.gather(*reading) == [None, None, None]
    for session in sessions:
        with pytest.raises(SessionClosed):
            await session.send_frame(JPEG)
    assert asyncio.all_tasks() == before


async def test_closing_a_client_ends_a_session_that_is_being_opened():
    transport, is_silent = FakeTransport(FakeServer()), asyncio.Event()

    async def silent():
        stream = await FakeTransport.drive(transport)

        async def send(request):
            is_silent.set()

        stream.send = send
        return stream

    transport.drive = silent
    client = await steerstream.connect("fake", transport=transport, timeout_s=60)

    async def opened():
        return await client.open_session(vehicle_id="car")

    opening = asyncio.create_task(opened())
    await is_silent.wait()
    await client.aclose()
    with pytest.raises(SteerstreamError, match="the client is closed"):
        await opening


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vehicle_id": 7}, "vehicle_id must be str"),
        ({"model": 7}, "model cannot be 7"),
        ({"budget_ms": "50"}, "budget_ms cannot be '50'"),
        ({"frame_policy": 2}, "frame_policy must be FramePolicy"),
        (
            {"camera": Camera(width_px=640.5)},  # type: ignore[arg-type]
            r"width_px cannot be 640\.5",
        ),
        ({"camera": (640, 480)}, "camera must be Camera"),
        ({"ticket": "sealed"}, "ticket must be TicketIssued or bytes, not 'sealed'"),
        ({"guard": Bounds()}, "guard must be Guard"),
        ({"model": True}, "model cannot be True"),
        *(
            ({name: value}, f"{name} cannot be")
            for name in ("budget_ms", "frame_rate_hz")
            for value in (True, math.nan, math.inf, 10**400)
        ),
        *(
            (
                {"camera": cast(Any, Camera)(**{field.name: value})},
                f"{field.name} cannot",
            )
            for field in dataclasses.fields(Camera)
            for value in (True, math.nan, 10**400)
        ),
    ],
)
async def test_a_wrong_type_is_refused_by_name_and_nothing_is_sent(options, message):
    server = FakeServer()
    async with steerstream.connect("fake", transport=server.transport()) as client:
        with pytest.raises(BadRequest, match=message):
            await client.open_session(**{"vehicle_id": "car", **options})
    assert not server.received


async def test_the_server_chooses_terms_that_are_left_out():
    server = FakeServer()
    async with steerstream.connect("fake", transport=server.transport()) as client:
        await client.open_session(vehicle_id="car", budget_ms=None, camera=Camera(640, 480))
    opening = server.received[0].open
    assert (opening.model, opening.budget_ms, opening.frame_rate_hz) == ("", 0.0, 0.0)
    assert (opening.camera.width_px, opening.camera.horizontal_fov_deg) == (640, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 50051}, "target must be str"),
        ({"timeout_s": "5"}, "timeout_s must be a number"),
        ({"timeout_s": math.nan}, "timeout_s must be finite"),
        ({"tls": True}, "tls must be Tls"),
        ({"metadata": {"token": "x"}}, "metadata must be pairs of a key and a text, not 'token'"),
        ({"metadata": [("token", 5)]}, r"metadata must be pairs .* not \('token', 5\)"),
        ({"metadata": [("Authorization", "x")]}, "lower-case letters.*not 'Authorization'"),
        ({"metadata": 5}, "metadata must be pairs of a key and a text, not 5"),
        ({"metadata": [("x-bin", "text")]}, "'x-bin' must be bytes"),
        ({"metadata": [("token", b"x")]}, "'token' must be printable ASCII"),
        ({"metadata": [("token", "a\nb")]}, "'token' must be printable ASCII"),
        ({"metadata": [("token", "a\tb")]}, "'token' must be printable ASCII"),
        ({"metadata": [("token", "\xe9")]}, "'token' must be printable ASCII"),
        ({"target": ""}, "target must be"),
        ({"target": "\0"}, "target must be"),
        ({"target": "\ud800"}, "target must be"),
        ({"timeout_s": 10**400}, "timeout_s must be finite"),
        ({"timeout_s": 1e10}, "timeout_s must be finite, 0 to"),
        ({"wait_for_server": "no"}, "wait_for_server must be bool"),
        ({"transport": 5}, "transport must be Transport"),
        ({"clock": 5}, "clock must be a function"),
    ],
)
def test_a_wrong_argument_of_connect_is_refused_by_name(options, message):
    with pytest.raises(BadRequest, match=message):
        steerstream.connect(**{"target": "localhost:50051", **options})


def test_an_error_about_metadata_does_not_show_its_value():
    """It may be a token, and errors end up in logs."""
    for item in [("token", "secret\n"), ("token", b"secret"), ("token-bin", "secret")]:
        with pytest.raises(BadRequest) as caught:
            steerstream.connect("localhost:50051", metadata=[item])  # type: ignore[list-item]
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["ca_file", "certificate_file", "key_file"])
@pytest.mark.parametrize("value", [5, b"a.pem", pytest.param(10**5000, id="long")])
def test_a_file_of_tls_of_the_wrong_type_is_refused_by_name(name, value):
    with pytest.raises(BadRequest, match=f"tls: {name} must be str or Path"):
        steerstream.Tls(**{name: value}).context()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 50051}, "target must be str"),
        ({"target": "\0"}, "target must be HOST:PORT"),
        ({"metadata": 5}, "metadata must be pairs"),
        ({"timeout_s": "5"}, "timeout_s must be a number"),
        ({"timeout_s": math.inf}, "timeout_s must be finite"),
    ],
)
def test_the_transport_refuses_the_same_arguments(options, message):
    with pytest.raises(BadRequest, match=message):
        steerstream.GrpcTransport(**{"target": "localhost:50051", "timeout_s": 5.0, **options})


@pytest.mark.parametrize(
    "tls",
    [
        steerstream.Tls(ca_file="\0"),
        steerstream.Tls(ca_file="\ud800"),
        steerstream.Tls(certificate_file="\0"),
        steerstream.Tls(certificate_file=5),  # type: ignore[arg-type]
        steerstream.Tls(ca_file="a.pem", key_file=b"b.pem"),  # type: ignore[arg-type]
    ],
)
async def test_a_file_of_tls_that_cannot_be_named_is_refused(tls):
    with pytest.raises(BadRequest, match="_file"):
        await steerstream.connect("localhost:50051", tls=tls)


@pytest.mark.parametrize("target", ["localhost:99999", f"{'x' * 100}.test:50051", "a..b:50051"])
async def test_a_target_that_no_socket_takes_fails_like_any_other(target):
    with pytest.raises(ConnectionFailed, match=r"check the (target|host|port)"):
        await steerstream.connect(target)


class Reached(FakeTransport):
    """A server that hangs, is down, or comes up after some attempts; notes each attempt."""

    def __init__(self, name, fails, attempts):
        super().__init__(FakeServer())
        self._name, self._fails, self._attempts = name, fails, attempts

    async def connect(self, *, timeout_s, wait_for_server):
        self._attempts.append((self._name, timeout_s, wait_for_server))
        if self._name == "hangs":
            await asyncio.sleep(timeout_s)
            raise ConnectionFailed("it did not answer")
        if len(self._attempts) < self._fails:
            raise ConnectionFailed("nobody listens")


def several(fails, attempts):
    return lambda name: Reached(name, fails, attempts)


async def test_a_server_that_hangs_leaves_time_for_those_behind_it():
    attempts: list[Any] = []
    async with steerstream.connect(
        ["hangs", "b"], transport=several(2, attempts), timeout_s=0.2
    ) as client:
        assert client._target == "b"
    assert attempts[0] == ("hangs", pytest.approx(0.1, abs=0.01), False)


async def test_of_several_servers_that_are_down_the_first_to_come_up_is_taken():
    attempts: list[Any] = []
    async with steerstream.connect(
        ["a", "b"], transport=several(6, attempts), timeout_s=60, wait_for_server=True
    ) as client:
        assert client._target == "b"
    assert [name for name, *_ in attempts] == ["a", "b"] * 3


@pytest.mark.parametrize(("waits", "rounds"), [(False, 1), (True, 2)])
async def test_where_no_server_comes_up_all_are_tried_and_why_the_last_one_failed_is_said(
    waits, rounds
):
    attempts: list[Any] = []
    client = steerstream.connect(
        ["a", "b"], transport=several(math.inf, attempts), timeout_s=0.1, wait_for_server=waits
    )
    with pytest.raises(ConnectionFailed, match="nobody listens"):
        await client
    assert len(attempts) >= 2 * rounds
    assert {name for name, *_ in attempts} == {"a", "b"}
    assert waits or len(attempts) == 2
