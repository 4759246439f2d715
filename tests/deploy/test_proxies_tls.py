"""Mutual TLS that ends at each proxy: who may drive, and whose name the servers are told."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import steerstream
from tests.deploy.fleet import ANSWER_S, BUNDLE, SETTINGS, drive, noise, session
from tests.deploy.test_proxies import FILES, one_server, proxied  # noqa: F401 - a fixture
from tests.deploy.tools import DEPLOY, tool
from tests.service import processes

README = DEPLOY / "README.md"
SUBJECT = "CN=car-7"


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run([tool("openssl"), *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and what it has signed: a server's certificate and a vehicle's."""
    folder = tmp_path_factory.mktemp("keys")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    authority = ("-keyout", "ca.key", "-out", "vehicles-ca.crt", "-subj", "/CN=authority")
    openssl(folder, "req", "-x509", *key, *authority, "-days", "2")
    names = {"server": "/CN=proxy", "vehicle": "/" + SUBJECT}
    for name, subject in names.items():
        openssl(
            folder,
            *("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.crt"),
            *("-subj", subject, "-days", "2", "-CA", "vehicles-ca.crt", "-CAkey", "ca.key"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"),
        )
    return folder


def ending_tls(keys: Path, text: str) -> str:
    """Change a proxy's file as deploy/README.md does, with the keys of this folder."""
    scripts = set(re.findall(r"^sed '(.+?)' deploy/", README.read_text(), flags=re.MULTILINE))
    (script,) = scripts
    changed = subprocess.run(
        ["sed", script], input=text, capture_output=True, text=True, check=True
    )
    return changed.stdout.replace("/etc/steerstream/tls", str(keys))


def tls(keys: Path) -> steerstream.Tls:
    return steerstream.Tls(keys / "vehicles-ca.crt", keys / "vehicle.crt", keys / "vehicle.key")


@pytest.mark.parametrize("proxy", FILES)
async def test_a_vehicle_with_a_certificate_drives_and_one_without_is_refused(
    proxy: str,
    one_server: list[int],  # noqa: F811 - the fixture
    keys: Path,
    tmp_path: Path,
) -> None:
    async with proxied(proxy, tmp_path / proxy, one_server, partial(ending_tls, keys)) as address:
        async with session(address, "car", tls=tls(keys)) as car:
            await drive(car, noise(), frames=3)
        stranger = steerstream.Tls(keys / "vehicles-ca.crt")
        with pytest.raises(steerstream.SteerstreamError):
            async with (
                steerstream.connect(address, tls=stranger, timeout_s=ANSWER_S) as client,
                client.open_session(vehicle_id="stranger"),
            ):
                pass


class Subjects(grpc.aio.ServerInterceptor):
    """Notes what a server is told of its vehicles."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def intercept_service(self, continuation, details):
        metadata = dict(details.invocation_metadata)
        if "Drive" in details.method:
            self.seen.append(metadata.get("x-vehicle-subject", ""))
        return await continuation(details)


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, Subjects]]:
    """A server that is healthy, and drives nobody."""
    subjects = Subjects()
    server = grpc.aio.server(interceptors=[subjects])
    healthy = health.aio.HealthServicer()
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port, subjects
    finally:
        await server.stop(None)


@pytest.mark.parametrize("proxy", FILES)
async def test_servers_are_told_the_certificates_subject_and_not_what_the_vehicle_says(
    proxy: str, keys: Path, tmp_path: Path
) -> None:
    async with (
        listening() as (port, subjects),
        proxied(proxy, tmp_path / proxy, [port, port], partial(ending_tls, keys)) as address,
    ):
        with pytest.raises(steerstream.SteerstreamError):
            async with (
                steerstream.connect(
                    address,
                    tls=tls(keys),
                    metadata=[("x-vehicle-subject", "CN=somebody-else")],
                    wait_for_server=True,
                    timeout_s=ANSWER_S,
                ) as client,
                client.open_session(vehicle_id="car"),
            ):
                pass
    assert subjects.seen
    assert set(subjects.seen) == {SUBJECT}


@pytest.fixture(scope="module")
def judging_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    """The port, twice, of a server with the lines of deploy/README.md, behind a proxy here."""
    folder = tmp_path_factory.mktemp("judging")
    (lines,) = re.findall(r"^```toml\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    settings = folder / "server.toml"
    settings.write_text(SETTINGS.read_text() + lines.replace("192.0.2.1/32", "127.0.0.1/32"))
    with processes.process("--model", BUNDLE, "--config", settings, folder=folder) as (_, address):
        yield [int(address.rpartition(":")[2])] * 2


@pytest.mark.parametrize("proxy", FILES)
async def test_behind_a_proxy_a_vehicle_opens_sessions_under_its_own_name_alone(
    proxy: str, judging_server: list[int], keys: Path, tmp_path: Path
) -> None:
    change = partial(ending_tls, keys)
    async with proxied(proxy, tmp_path / proxy, judging_server, change) as address:
        async with session(address, "car-7", tls=tls(keys)) as car:
            await drive(car, noise(), frames=3)
        with pytest.raises(steerstream.AccessDenied, match="'CN=car-7' does not own") as refused:
            async with session(address, "car-8", tls=tls(keys)):
                pass
        assert refused.value.reason is steerstream.ErrorReason.FORBIDDEN
    with pytest.raises(steerstream.AccessDenied, match="must hand on one x-vehicle-subject"):
        async with session(f"127.0.0.1:{judging_server[0]}", "car-7"):
            pass
