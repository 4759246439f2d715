"""Whose a call is: by certificate, token or header, each over a real connection or its likeness."""

from __future__ import annotations

import asyncio
import logging
import time

import numpy as np
import pytest
from cryptography import x509

import steerstream
from steerstream import (
    AccessDenied,
    DriveState,
    ErrorReason,
    FramePolicy,
    HandOver,
    SessionRefused,
    SessionTakenOver,
    TokenExpired,
    drive_session,
)
from steerstream_service.config import Config
from steerstream_service.errors import ConfigError, ForbiddenError, UnauthenticatedError
from steerstream_service.transport.identity import Caller, Identities
from steerstream_service.transport.tokens import Shown
from tests.service import bundles
from tests.service.certificates import Authority
from tests.service.transport import test_tokens
from tests.service.vehicle import LONG_BUDGET_MS, running

GREY = np.full((8, 16, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


class Call:
    """As much of an RPC's context as says who makes it."""

    def __init__(self, peer="ipv4:127.0.0.1:4711", certificate=None, **metadata):
        self._peer = peer
        self._certificate = certificate or {}
        self._metadata = [
            (key.replace("_", "-"), value)
            for key, values in metadata.items()
            for value in ([values] if isinstance(values, str) else values)
        ]

    def peer(self):
        return self._peer

    def auth_context(self):
        return self._certificate

    def invocation_metadata(self):
        return self._metadata


def by_header(**settings):
    return Identities(Config(identity="header", **settings))


# Which vehicle is whose.


@pytest.mark.parametrize(
    ("owners", "name", "vehicle_id", "is_owner"),
    [
        (["{vehicle_id}"], "car-7", "car-7", True),
        (["{vehicle_id}"], "car-7", "car-8", False),
        (["spiffe://fleet/{vehicle_id}"], "spiffe://fleet/car-7", "car-7", True),
        (["spiffe://fleet/{vehicle_id}"], "spiffe://other/car-7", "car-7", False),
        (["spiffe://fleet/{vehicle_id}"], "car-7", "car-7", False),
        (["{vehicle_id}.cars.example"], "car-7.cars.example", "car-7", True),
        (["{vehicle_id}.cars.example"], "car-7xcars.example", "car-7", False),
        (["CN={vehicle_id},O=Fleet"], "CN=car-7,O=Fleet", "car-7", True),
        (["CN={vehicle_id}"], "CN=car-7,O=Fleet", "car-7", False),
        (["{vehicle_id}", "gateway"], "gateway", "any car", True),
        (["{vehicle_id}"], "{vehicle_id}", "car-7", False),
        (["{vehicle_id}"], "", "car-7", False),
    ],
)
def test_an_identity_owns_the_vehicle_that_the_setting_makes_of_it(
    owners, name, vehicle_id, is_owner
):
    identities = by_header(vehicle_identity=tuple(owners))
    caller = Caller((name,), None)
    if is_owner:
        assert identities.owner(caller, vehicle_id) == name
    else:
        with pytest.raises(ForbiddenError, match="does not own the vehicle"):
            identities.owner(caller, vehicle_id)


@pytest.mark.parametrize(
    ("owners", "asked_for"),
    [
        (["{vehicle_id}"], "the name 'car-7' alone"),
        (["spiffe://fleet/{vehicle_id}"], "a spiffe:// name with 'car-7' in it"),
        (["CN={vehicle_id}"], "the name 'car-7' with a fixed text before it"),
        (["{vehicle_id}.cars.example"], "the name 'car-7' with a fixed text after it"),
        (["CN={vehicle_id},O=Fleet"], "the name 'car-7' with a fixed text before and after it"),
        (["gateway"], "a name that owns every vehicle"),
        (["{vehicle_id}", "gateway"], "the name 'car-7' alone or a name that owns every vehicle"),
        (["CN={vehicle_id}", "DN={vehicle_id}"], "the name 'car-7' with a fixed text before it"),
    ],
)
def test_who_owns_no_vehicle_hears_what_kind_of_name_would_but_no_name(owners, asked_for):
    with pytest.raises(ForbiddenError) as refused:
        by_header(vehicle_identity=tuple(owners)).owner(Caller(("bus-1",), None), "car-7")
    assert str(refused.value) == (
        f"'bus-1' does not own the vehicle 'car-7': vehicle_identity on the server asks for "
        f"{asked_for}; check the vehicle's name, and what the proxy hands on as x-vehicle-subject"
    )


def test_who_owns_no_vehicle_is_advised_by_what_the_server_goes_by(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text(test_tokens.key_set("fleet-1"))
    by_token = Identities(Config(token_keys=str(file)))
    by_certificate = Identities(Config(), asks_for_certificates=True)
    for identities, source in ((by_token, "token"), (by_certificate, "certificate")):
        with pytest.raises(ForbiddenError) as refused:
            identities.owner(Caller(("bus-1",), None), "car-7")
        advice = f"; use the vehicle's own {source}, or its own name"
        assert str(refused.value).endswith(advice)


def test_where_nobody_has_an_identity_every_name_is_free():
    identities = Identities(Config())
    assert not identities.in_force
    assert identities.owner(identities.caller(Call()), "car-7") is None


# Headers of a proxy.


@pytest.mark.parametrize("peer", ["ipv4:127.0.0.1:1", "ipv6:%5B::1%5D:1", "unix:", "unix:/socket"])
def test_the_header_of_a_proxy_on_this_machine_is_believed(peer):
    caller = by_header().caller(Call(peer, x_vehicle_subject="CN=car-7"))
    assert caller.names == ("CN=car-7",)


@pytest.mark.parametrize("peer", ["ipv4:10.0.0.1:1", "ipv6:%5B2001:db8::1%5D:1"])
def test_nobody_else_s_is(peer):
    with pytest.raises(UnauthenticatedError, match="is none of trusted_proxies"):
        by_header().caller(Call(peer, x_vehicle_subject="CN=car-7"))


def test_a_proxy_on_another_machine_is_believed_where_it_is_named():
    identities = by_header(trusted_proxies=("10.0.0.0/8",), identity_header="X-Name")
    for peer in ("ipv4:10.1.2.3:1", "ipv6:%5B::ffff:10.1.2.3%5D:1"):
        caller = identities.caller(Call(peer, x_name="car-7"))
        assert caller == Caller(("car-7",), "10.1.2.3")
    with pytest.raises(UnauthenticatedError):
        identities.caller(Call("ipv4:127.0.0.1:1", x_name="car-7"))


@pytest.mark.parametrize("values", [[], [""], ["CN=car-7", "CN=car-8"]])
def test_a_header_that_is_missing_or_there_twice_names_nobody(values):
    with pytest.raises(
        UnauthenticatedError, match="must hand on one x-vehicle-subject; set it there"
    ):
        by_header().caller(Call(x_vehicle_subject=values))


# Settings that do not fit together.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"identity": "certificate"}, "needs --client-ca"),
        ({"identity": "token"}, "needs token_keys"),
        (
            {"identity": "header", "trusted_proxies": ("10.0.0.1/8",)},
            "trusted_proxies: .*host bits",
        ),
        ({"administrators": ("alice",)}, "administrators are named, but identity is none"),
        ({"vehicle_identity": ("CN={vehicle_id}",)}, "vehicle_identity is set, but identity is"),
        (
            {"vehicle_identity": ("CN={vehicle_id}",), "identity": "none"},
            "vehicle_identity is set, but identity is none",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Identities(Config(**settings))


def test_the_source_follows_from_what_is_given(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text(test_tokens.key_set("fleet-1"))
    certificate = {"peer_uri": [b"spiffe://fleet/car-7"], "peer_dns": [b"car-7"]}
    token = f"Bearer {test_tokens.token()}"
    both = Call(certificate=certificate, authorization=token)
    of_tokens = Identities(Config(token_keys=str(file)), asks_for_certificates=True)
    assert of_tokens.caller(both).names == ("car-7",)
    of_certificates = Identities(Config(), asks_for_certificates=True)
    assert of_certificates.caller(both).names == ("spiffe://fleet/car-7", "car-7")
    neither = Identities(Config(identity="none"), asks_for_certificates=True)
    assert neither.caller(both).names == ()


@pytest.mark.parametrize("values", [[], ["Basic abc"], ["Bearer a", "Bearer b"]])
def test_a_call_without_one_bearer_token_is_nobody_s(tmp_path, values):
    file = tmp_path / "keys.json"
    file.write_text(test_tokens.key_set("fleet-1"))
    identities = Identities(Config(token_keys=str(file)))
    with pytest.raises(UnauthenticatedError, match="one header 'authorization: Bearer TOKEN'"):
        identities.caller(Call(authorization=values))


# Over real connections.


def session(client, vehicle_id):
    return client.open_session(
        vehicle_id=vehicle_id, frame_policy=FramePolicy.EVERY, budget_ms=LONG_BUDGET_MS
    )


async def drive(run, vehicle_id, **connection):
    async with (
        steerstream.connect(run.address, timeout_s=30.0, **connection) as client,
        session(client, vehicle_id) as car,
    ):
        return await car.request(GREY)


async def test_a_certificate_s_uri_owns_its_vehicle_and_no_other(tiny, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    fleet = Authority(tmp_path / "fleet")
    own = fleet.issue("car", x509.UniformResourceIdentifier("spiffe://fleet/car-7"))
    nameless = fleet.issue("nameless")
    settings = {"vehicle_identity": ("spiffe://fleet/{vehicle_id}",)}
    async with running(tiny, security=fleet.security(fleet.server()), **settings) as run:
        await drive(run, "car-7", tls=fleet.client(own))
        (line,) = (record for record in caplog.records if record.message == "session_opened")
        assert line.steerstream_fields["identity"] == "spiffe://fleet/car-7"
        assert line.steerstream_fields["address"] == "127.0.0.1"
        with pytest.raises(AccessDenied, match="does not own the vehicle 'car-8'") as refused:
            await drive(run, "car-8", tls=fleet.client(own))
        assert refused.value.reason is ErrorReason.FORBIDDEN
        with pytest.raises(AccessDenied, match="no certificate with a URI or DNS name") as refused:
            await drive(run, "car-7", tls=fleet.client(nameless))
        assert refused.value.reason is ErrorReason.UNAUTHENTICATED
        assert run.server.admission.sessions == 0


async def test_a_token_s_subject_owns_its_vehicle_and_no_other(tiny, tmp_path):
    file = tmp_path / "keys.json"
    file.write_text(test_tokens.key_set("fleet-1"))
    async with running(tiny, token_keys=str(file)) as run:
        await drive(run, "car-7", token=test_tokens.token)
        with pytest.raises(AccessDenied, match="does not own"):
            await drive(run, "car-8", token=test_tokens.token())
        with pytest.raises(AccessDenied, match="Bearer TOKEN"):
            await drive(run, "car-7")


async def test_a_stranger_does_not_delay_the_vehicle_whose_name_it_takes(tiny, monkeypatch):
    settings = {"identity": "header", "max_sessions": 1}
    async with running(tiny, **settings) as run:
        delayed = []
        hints = run.server._service._retry_hints

        def early_ns(name, _):
            delayed.append(name)
            return 0

        monkeypatch.setattr(hints, "early_ns", early_ns)
        with pytest.raises(AccessDenied):
            await drive(run, "car-7", metadata=[("x-vehicle-subject", "car-8")])
        assert hints._until_ns == {}
        assert delayed == []
        await drive(run, "car-7", metadata=[("x-vehicle-subject", "car-7")])
        assert delayed == ["car-7"]


async def test_one_identity_does_not_take_everybody_s_slots(tiny):
    settings = {
        "identity": "header",
        "vehicle_identity": ("{vehicle_id}", "gateway"),
        "max_sessions_per_identity": 2,
    }
    async with (
        running(tiny, **settings) as run,
        steerstream.connect(
            run.address, metadata=[("x-vehicle-subject", "gateway")], timeout_s=30.0
        ) as greedy,
        session(greedy, "a"),
        session(greedy, "b"),
    ):
        with pytest.raises(SessionRefused, match="all 2 sessions of an identity") as refused:
            async with session(greedy, "c"):
                pass
        assert refused.value.reason is ErrorReason.SHARE_TAKEN
        assert refused.value.retry_after_s
        await drive(run, "car-7", metadata=[("x-vehicle-subject", "car-7")])


async def test_one_address_has_its_share_where_that_is_set(tiny):
    async with (
        running(tiny, max_sessions_per_address=1) as run,
        steerstream.connect(run.address, timeout_s=30.0) as client,
    ):
        async with session(client, "a"):
            with pytest.raises(SessionRefused, match=r"127\.0\.0\.1 has all 1 sessions"):
                async with session(client, "b"):
                    pass
        await drive(run, "b")


async def test_two_programs_under_one_name_do_not_take_the_session_from_each_other(tiny):
    async with (
        running(tiny) as run,
        steerstream.connect(run.address, timeout_s=30.0) as client,
        client.drive_session(
            vehicle_id="car-7",
            frame_policy=FramePolicy.EVERY,
            budget_ms=LONG_BUDGET_MS,
            hand_over=HandOver(attempt_timeout_s=30.0),
        ) as first,
    ):
        await first.request(GREY)
        async with session(client, "car-7") as second:
            async with asyncio.timeout(60):
                while first.state is not DriveState.LOST:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.005)
            with pytest.raises(SessionTakenOver, match="a newer session of this vehicle"):
                await first.request(GREY)
            assert (await second.request(GREY)).step_count == 1
            assert run.server.admission.sessions == 1


@pytest.fixture
def valid_for_s(tmp_path, monkeypatch):
    """For how long the next tokens are valid from when they are shown; the last one stays."""
    (tmp_path / "keys.json").write_text(test_tokens.key_set("fleet-1"))
    seconds = [3600.0]

    def read(*_):
        return Shown("car-7", time.time() + (seconds.pop(0) if len(seconds) > 1 else seconds[0]))

    monkeypatch.setattr("steerstream_service.transport.tokens.Tokens.read", read)
    return seconds


async def test_a_session_ends_when_its_token_expires(tiny, tmp_path, valid_for_s):
    valid_for_s.insert(0, 0.2)
    async with (
        running(tiny, token_keys=str(tmp_path / "keys.json")) as run,
        steerstream.connect(run.address, timeout_s=30.0, token="t") as client,
    ):
        async with session(client, "car-7") as car:
            assert 0 < car.info.limits.token_valid_for_ms <= 200
            with pytest.raises(TokenExpired, match="; open again with a new one") as ended:
                async for _ in car:
                    pass
            assert ended.value.reason is ErrorReason.TOKEN_EXPIRED
        assert run.server.admission.sessions == 0
        async with session(client, "car-7") as car:
            assert 200 < car.info.limits.token_valid_for_ms <= 3_600_000


async def test_a_session_that_ends_before_its_token_leaves_no_timer(tiny, tmp_path, valid_for_s):
    async with (
        running(tiny, token_keys=str(tmp_path / "keys.json")) as run,
        steerstream.connect(run.address, timeout_s=30.0, token="t") as client,
    ):
        async with session(client, "car-7") as car:
            await car.request(GREY)
            (stream,) = run.server._service._streams
        (timer,) = stream._end_timers
        assert timer.cancelled()


@pytest.mark.parametrize("is_renewed", [True, False])
async def test_a_drive_session_outlives_its_tokens(
    tiny, tmp_path, valid_for_s, monkeypatch, is_renewed
):
    """With the next token before the end where that can be, and else when the server ends it."""
    monkeypatch.setattr(drive_session, "_TOKEN_TRIED_S", 0.001 if is_renewed else 60.0)
    valid_for_s[:0] = [0.3, 0.3]
    changes = []
    async with (
        running(tiny, token_keys=str(tmp_path / "keys.json")) as run,
        steerstream.connect(run.address, timeout_s=30.0, token="t") as client,
        client.drive_session(
            vehicle_id="car-7",
            frame_policy=FramePolicy.EVERY,
            budget_ms=LONG_BUDGET_MS,
            hand_over=HandOver(attempt_timeout_s=30.0, missing_answers=1000),
            on_change=changes.append,
        ) as car,
    ):
        steps = []

        async def step():
            # By a clock of its own: a machine that stands still makes no gap, which begins afresh.
            answer = await car.request(GREY, capture_time_ns=50_000_000 * len(steps))
            steps.append(answer.step_count)

        async with asyncio.timeout(60):
            # A machine that stands still for a moment may use two tokens up in one change.
            while len(valid_for_s) > 1 or car.info.limits.token_valid_for_ms < 1e6:
                await step()
                await asyncio.sleep(0.01)
            await step()
        assert steps == list(range(1, len(steps) + 1)), "with its state"
        assert all(change.with_state for change in changes if change.state is DriveState.DRIVING)
    states = [change.state for change in changes]
    assert states.count(DriveState.DRIVING) > 1
    assert is_renewed or DriveState.RESUMING in states
