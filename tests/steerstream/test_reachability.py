"""Every way in which a server is not reached has an error that names it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

import steerstream
from steerstream import BadRequest, ConnectionFailed, Tls
from steerstream.reachability import is_local
from steerstream.testing import FakeServer
from tests.steerstream.certificates import make_certificate
from tests.steerstream.wired import serving

PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
DEAD_PROXY = "http://user:secret@127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in (*PROXIES, "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)


async def failure(target: str, *, timeout_s: float = 20.0, tls: Tls | None = None) -> str:
    with pytest.raises(ConnectionFailed) as caught:
        await steerstream.connect(target, timeout_s=timeout_s, tls=tls)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert str(caught.value).startswith(target)
    return str(caught.value)


@contextlib.asynccontextmanager
async def listening(greeting: bytes | None, path: Path | None = None):
    """A server of another kind; it greets and hangs up, or takes the connection in silence."""

    transports = []

    async def serve(reader, writer):
        transports.append(writer.transport)
        if greeting is not None:
            writer.write(greeting)
            writer.close()

    if path is None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
    else:
        server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield f"unix:{path}" if path else f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)


class Delay(asyncio.Protocol):
    """One side of a relay, which holds back what it receives."""

    onward: Delay

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        loop = asyncio.get_running_loop()
        loop.call_later(self.delay_s, lambda: self.onward.transport.write(data))

    def connection_lost(self, exc):
        loop = asyncio.get_running_loop()
        loop.call_later(self.delay_s, self.onward.transport.close)


def _returning(end: Delay) -> Callable[[], Delay]:
    return lambda: end


@contextlib.asynccontextmanager
async def delaying(server: str, delay_s: float):
    """A relay to a server that holds back what either side sends, in seconds."""
    relay = socket.create_server(("127.0.0.1", 0))
    relay.setblocking(False)
    loop = asyncio.get_running_loop()
    host, _, port = server.rpartition(":")
    transports = []

    async def accept() -> None:
        while True:
            accepted, _ = await loop.sock_accept(relay)
            inner, outer = Delay(delay_s), Delay(delay_s)
            inner.onward, outer.onward = outer, inner
            inner_end = await loop.create_connection(_returning(inner), host, int(port))
            outer_end = await loop.connect_accepted_socket(_returning(outer), accepted)
            transports.extend((inner_end[0], outer_end[0]))

    accepting = asyncio.create_task(accept())
    try:
        yield f"127.0.0.1:{relay.getsockname()[1]}"
    finally:
        accepting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await accepting
        relay.close()
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("localhost:1", "nobody listens there; start the server, or check the port"),
        ("localhost", "check the port; no port was given, so 443 was tried"),
        ("[::1]:1", "nobody listens there"),
        ("dns:///localhost:1", "nobody listens there"),
        ("no.such.host.invalid:50051", "has no address"),
        ("unix:/no/such/socket", "cannot be reached (No such file or directory)"),
        ("unix:///no/such/socket", "cannot be reached (No such file or directory)"),
    ],
)
async def test_nobody_listens(target, said):
    assert said in await failure(target)


async def test_a_server_that_is_waited_for_and_does_not_come_is_named_as_well():
    with pytest.raises(ConnectionFailed, match=r"within 0\.1 s; it refuses the connection"):
        await steerstream.connect("localhost:1", timeout_s=0.1, wait_for_server=True)


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
@pytest.mark.parametrize("tls", [None, Tls()])
async def test_a_server_of_another_kind_is_named_without_waiting(greeting, tls):
    async with listening(greeting) as target:
        said = await failure(target, timeout_s=60, tls=tls)
    assert ("speaks no TLS, which was tried" if tls else "does not speak gRPC") in said
    assert "within" not in said


@pytest.mark.parametrize("tls", [None, Tls()])
async def test_a_server_that_takes_the_connection_and_is_silent_is_waited_for(tls):
    async with listening(None) as target:
        said = await failure(target, timeout_s=0.5, tls=tls)
    assert "did not answer within 0.5 s; it takes the connection and answers nothing" in said
    assert "it may be busy, stuck, or no gRPC server" in said


async def test_a_silent_server_on_a_unix_socket_is_named(tmp_path):
    async with listening(None, tmp_path / "socket") as target:
        assert "answers nothing" in await failure(target, timeout_s=0.5)


async def test_a_server_is_connected_through_a_network_that_delays_each_way_by_150_ms():
    async with (
        serving(FakeServer()) as (server, _),
        delaying(server, 0.15) as target,
        steerstream.connect(target) as client,
    ):
        assert (await client.describe_models()).default_model == "fake"


async def test_a_server_that_answers_after_the_time_limit_is_not_said_to_be_of_another_kind():
    async with serving(FakeServer()) as (server, _), delaying(server, 0.15) as target:
        said = await failure(target, timeout_s=0.05)
    assert "did not answer within 0.05 s; it is there and answers too slowly" in said


async def test_tls_against_plain_text():
    async with serving(FakeServer()) as (target, _):
        assert "speaks no TLS, which was tried; leave tls out" in await failure(target, tls=Tls())


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl makes the certificate"
)


@needs_openssl
async def test_plain_text_against_tls_and_a_certificate_that_is_not_trusted(tmp_path):
    key, certificate = await asyncio.to_thread(make_certificate, tmp_path)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    async with serving(FakeServer(), credentials) as (target, _):
        said = await failure(target)
        assert "plain text was tried; pass tls=steerstream.Tls(...) or --tls-ca" in said
        said = await failure(target, tls=Tls())
        assert "a certificate that is not trusted (self-signed certificate)" in said
        assert "pass Tls(ca_file=...) or --tls-ca with" in said
        by_address = target.replace("localhost", "127.0.0.1")
        said = await failure(by_address, tls=Tls(ca_file=certificate))
        assert "IP address mismatch" in said


@needs_openssl
async def test_a_server_that_asks_for_a_certificate(tmp_path):
    key, certificate = await asyncio.to_thread(make_certificate, tmp_path)
    pem = certificate.read_bytes()
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), pem)], root_certificates=pem, require_client_auth=True
    )
    async with serving(FakeServer(), credentials) as (target, _):
        said = await failure(target, tls=Tls(ca_file=certificate), timeout_s=2)
        assert "it may ask for this client's certificate" in said
        tls = Tls(ca_file=certificate, certificate_file=certificate, key_file=key)
        async with steerstream.connect(target, tls=tls) as client:
            assert (await client.describe_models()).default_model == "fake"


@needs_openssl
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"ca_file": "nosuch.pem"}, r"ca_file .*nosuch\.pem holds no readable certificate"),
        ({"ca_file": "key.pem"}, r"ca_file .*key\.pem holds no readable certificate"),
        ({"ca_file": "."}, "ca_file .* holds no readable certificate"),
        ({"certificate_file": "nosuch.pem"}, r"certificate_file .*nosuch\.pem"),
        (
            {"certificate_file": "certificate.pem"},
            r"certificate\.pem has no key; give key_file, or --tls-key",
        ),
        ({"certificate_file": "key.pem"}, "no readable certificate with its key"),
        ({"key_file": "key.pem"}, "goes with certificate_file"),
    ],
)
async def test_a_file_that_cannot_be_read_is_named(tmp_path, files, message):
    await asyncio.to_thread(make_certificate, tmp_path)
    tls = Tls(**{name: tmp_path / file for name, file in files.items()})
    with pytest.raises(BadRequest, match=f"tls: .*{message}"):
        await steerstream.connect("localhost:1", tls=tls)


@pytest.mark.parametrize("name", PROXIES)
async def test_a_server_on_this_machine_is_reached_past_a_proxy(monkeypatch, name):
    monkeypatch.setenv(name, DEAD_PROXY)
    async with (
        serving(FakeServer()) as (target, _),
        steerstream.connect(target) as client,
    ):
        assert (await client.describe_models()).default_model == "fake"
    assert "proxy" not in await failure("localhost:1")


@pytest.mark.parametrize("name", PROXIES)
async def test_a_proxy_in_the_way_of_another_machine_is_named_without_its_password(
    monkeypatch, name
):
    monkeypatch.setenv(name, DEAD_PROXY)
    said = await failure("vehicles.example:50051")
    assert f"through the proxy 127.0.0.1 of {name} in the environment" in said
    assert "add the server's host to no_proxy" in said
    assert "secret" not in said


@pytest.mark.parametrize("address", ["garbage", "proxy.example:3128", "https://proxy.example"])
async def test_a_proxy_that_cannot_be_used_is_not_blamed_and_its_variable_is_named(
    monkeypatch, address
):
    monkeypatch.setenv("http_proxy", address)
    said = await failure("no.such.host.invalid:50051")
    assert "has no address" in said
    assert said.endswith("http_proxy in the environment is not http://HOST:PORT and was not used")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("http://localhost:50051", "leave out 'http://'"),
        ("https://localhost:50051", "leave out 'https://'"),
        ("localhost:99999", "check the port, which is 1 to 65535"),
        ("[::1]:65536", "check the port, which is 1 to 65535"),
        ("dns:///localhost:0", "check the port, which is 1 to 65535"),
    ],
)
async def test_a_target_that_cannot_be_is_named(target, said):
    assert said in await failure(target)


async def test_a_port_that_does_not_exist_leads_to_no_other(unused_tcp_port):
    """gRPC takes a port modulo 65536."""
    server = grpc.aio.server()
    server.add_insecure_port(f"127.0.0.1:{unused_tcp_port}")
    await server.start()
    assert "no possible port" in await failure(f"127.0.0.1:{unused_tcp_port + 65_536}")
    await server.stop(None)


async def test_a_host_that_the_proxy_is_not_for_is_not_blamed_on_it(monkeypatch):
    monkeypatch.setenv("http_proxy", DEAD_PROXY)
    monkeypatch.setenv("no_proxy", "example.org, .invalid")
    assert "has no address" in await failure("no.such.host.invalid:50051")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("localhost:50051", True),
        ("localhost", True),
        ("car.localhost:50051", True),
        ("127.8.9.1:50051", True),
        ("[::1]:50051", True),
        ("ipv4:127.0.0.1:50051", True),
        ("ipv6:[::1]:50051", True),
        ("dns://8.8.8.8/localhost:50051", True),
        ("unix:/run/steerstream.sock", True),
        ("unix-abstract:steerstream", True),
        ("10.0.0.1:50051", False),
        ("localhost.example:50051", False),
        ("vehicles.example", False),
        ("[2001:db8::1]:50051", False),
        ("", False),
    ],
)
def test_targets_on_this_machine_are_told_from_others(target, expected):
    assert is_local(target) is expected
