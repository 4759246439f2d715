"""Who gets through TLS, with real certificates, and that these change under a live stream."""

from __future__ import annotations

import datetime as dt
import logging
import shutil
import ssl

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import steerstream
from steerstream import AccessDenied, ConnectionFailed, FramePolicy
from steerstream_service.address import Place, parse
from steerstream_service.admission import watched_files
from steerstream_service.errors import ConfigError, ListenError
from steerstream_service.transport.tls import ServerTls, SocketSecurity, TlsFiles
from tests.service import bundles
from tests.service.certificates import HERE, HOUR, Authority, pem
from tests.service.processes import refusal
from tests.service.vehicle import LONG_BUDGET_MS, running

GREY = np.full((8, 16, 3), 100, np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return bundles.recurrent(tmp_path_factory.mktemp("bundles") / "tiny.onnx")


@pytest.fixture
def fleet(tmp_path):
    return Authority(tmp_path / "fleet")


@pytest.fixture
def at_once(monkeypatch):
    """Files are looked at whenever they are asked for."""
    monkeypatch.setattr(watched_files, "_LOOK_AGAIN_S", 0.0)


def connect(run, tls):
    return steerstream.connect(run.address, tls=tls, timeout_s=30.0)


def session(client, vehicle_id="car-7"):
    return client.open_session(
        vehicle_id=vehicle_id, frame_policy=FramePolicy.EVERY, budget_ms=LONG_BUDGET_MS
    )


async def drive(run, tls, vehicle_id="car-7"):
    async with connect(run, tls) as client, session(client, vehicle_id) as car:
        return await car.request(GREY)


async def test_a_vehicle_with_a_certificate_drives_and_strangers_do_not(tiny, fleet, tmp_path):
    stranger = Authority(tmp_path / "strangers")
    name = x509.DNSName("car-7")
    expired = fleet.issue("expired", name, valid_for=-HOUR)
    other = stranger.issue("other", name)
    async with running(tiny, security=fleet.security(fleet.server())) as run:
        assert isinstance(
            await drive(run, fleet.client(fleet.issue("car", name))), steerstream.Command
        )
        for pair in (None, expired, other):
            with pytest.raises((ConnectionFailed, AccessDenied)):
                await drive(run, fleet.client(pair))
        with pytest.raises(ConnectionFailed, match="speaks TLS, and plain text was tried"):
            await drive(run, None)
        with pytest.raises(ConnectionFailed, match="is not trusted"):
            await drive(run, stranger.client(other))
        assert run.server.admission.sessions == 0
        left_s = run.server.state().certificate_expires_in_s
        assert left_s is not None
        assert 0 < left_s <= HOUR.total_seconds()


async def test_without_client_ca_nobody_is_asked_for_a_certificate(tiny, fleet):
    async with running(tiny, security=fleet.security(fleet.server(), asks=False)) as run:
        assert isinstance(await drive(run, fleet.client()), steerstream.Command)


@pytest.mark.usefixtures("at_once")
async def test_a_new_certificate_is_shown_to_the_next_connection_and_a_stream_goes_on(
    tiny, tmp_path
):
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    used = old.server()
    async with (
        running(tiny, security=old.security(used, asks=False)) as run,
        connect(run, old.client()) as client,
        session(client) as car,
    ):
        await car.request(GREY)
        replacement = new.server()
        shutil.copy(replacement.key, used.key)
        assert isinstance(await drive(run, old.client(), "half"), steerstream.Command)
        shutil.copy(replacement.certificate, used.certificate)
        assert isinstance(await drive(run, new.client(), "whole"), steerstream.Command)
        with pytest.raises(ConnectionFailed, match="is not trusted"):
            await drive(run, old.client(), "late")
        assert (await car.request(GREY)).step_count == 2


@pytest.mark.usefixtures("at_once")
async def test_authorities_of_vehicles_change_as_well(tiny, tmp_path):
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    name = x509.DNSName("car-7")
    first = steerstream.Tls(old.file, *vars(old.issue("car", name)).values())
    second = steerstream.Tls(old.file, *vars(new.issue("car", name)).values())
    server = old.server()
    vehicles = tmp_path / "vehicles-ca.pem"
    shutil.copy(old.file, vehicles)
    security = SocketSecurity(tls=ServerTls(TlsFiles(server.certificate, server.key, vehicles)))
    async with running(tiny, security=security) as run:
        await drive(run, first)
        with pytest.raises(ConnectionFailed):
            await drive(run, second)
        vehicles.write_bytes(old.file.read_bytes() + new.file.read_bytes())
        await drive(run, first)
        await drive(run, second)
        shutil.copy(new.file, vehicles)
        await drive(run, second)
        with pytest.raises(ConnectionFailed):
            await drive(run, first)


@pytest.mark.usefixtures("at_once")
def test_a_certificate_that_has_expired_does_not_take_the_place_of_one_that_has_not(fleet, caplog):
    used = fleet.server()
    tls = ServerTls(TlsFiles(used.certificate, used.key))
    before_s = tls.expires_in_s
    assert 0 < before_s <= HOUR.total_seconds()
    expired = fleet.server("expired", valid_for=-HOUR)
    shutil.copy(expired.key, used.key)
    shutil.copy(expired.certificate, used.certificate)
    assert before_s - 60 < tls.expires_in_s <= before_s
    assert "tls_files_not_read" in caplog.text


@pytest.mark.usefixtures("at_once")
def test_a_new_certificate_s_end_is_told(fleet, caplog):
    caplog.set_level(logging.INFO)
    used = fleet.server()
    tls = ServerTls(TlsFiles(used.certificate, used.key))
    longer = fleet.server("longer", valid_for=10 * HOUR)
    shutil.copy(longer.key, used.key)
    shutil.copy(longer.certificate, used.certificate)
    assert tls.expires_in_s > 9 * HOUR.total_seconds()
    assert caplog.messages == ["tls_files_read"]


def missing(files):
    files.certificate.unlink()


def folder(files):
    files.key.unlink()
    files.key.mkdir()


def no_certificate(files):
    files.certificate.write_text("certificate\n")


def no_key(files):
    files.key.write_text("key\n")


def key_with_password(files):
    files.key.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))


def other_key(files):
    files.key.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))


def damaged_key_in_certificate(files):
    found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    whole = found.public_bytes(Encoding.DER)
    point = found.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    off_the_curve = point[:-1] + bytes([point[-1] ^ 1])
    text = ssl.DER_cert_to_PEM_cert(whole.replace(point, off_the_curve))
    files.certificate.write_text(text)


def missing_authority(files):
    files.client_ca.unlink()


def no_authority(files):
    files.client_ca.write_text("")


BAD_FILES = {
    missing: r"--tls-cert: .*server\.pem: No such file or directory",
    folder: r"--tls-key: .*server\.key: not a regular file",
    no_certificate: r"server\.pem: holds no certificate in PEM",
    no_key: r"server\.key: holds no private key in PEM",
    key_with_password: r"server\.key: the key has a password; give one without",
    other_key: r"server\.key: is not the key of the first certificate in .*server\.pem",
    damaged_key_in_certificate: r"server\.pem: the key in the first certificate cannot be used",
    missing_authority: r"--client-ca: .*authority\.pem: No such file or directory",
    no_authority: r"authority\.pem: holds no certificate in PEM",
}


@pytest.mark.parametrize("spoil", BAD_FILES, ids=lambda spoil: spoil.__name__)
def test_each_kind_of_bad_file_is_named(fleet, spoil):
    server = fleet.server()
    files = TlsFiles(server.certificate, server.key, fleet.file)
    spoil(files)
    with pytest.raises(ConfigError, match=BAD_FILES[spoil]):
        ServerTls(files)


def test_an_expired_certificate_is_refused_at_the_start(fleet):
    server = fleet.server(valid_for=-dt.timedelta(seconds=1))
    with pytest.raises(ConfigError, match=r"server\.pem: the certificate expired at 20.* UTC"):
        ServerTls(TlsFiles(server.certificate, server.key))


def test_a_bad_file_is_one_line_and_exit_code_2(tiny, fleet):
    server = fleet.server()
    server.key.write_text("")
    line = refusal("--model", tiny, "--tls-cert", server.certificate, "--tls-key", server.key)
    assert line == f"steerstream serve: {server.key}: holds no private key in PEM\n"


@pytest.mark.parametrize(
    ("listen", "given", "is_allowed"),
    [
        ("127.0.0.1:50051", False, True),
        ("[::1]:50051", False, True),
        ("localhost:50051", False, True),
        ("0.0.0.0:50051", False, False),
        ("[::]:50051", False, False),
        ("10.0.0.1:50051", False, False),
        ("server.example:50051", False, False),
        ("0.0.0.0:50051", True, True),
    ],
)
def test_plain_text_stays_on_this_machine_unless_it_is_asked_for(listen, given, is_allowed):
    security, place = SocketSecurity(plain_text=given, admin_plain_text=given), parse(listen)
    assert place is not None
    for credentials, option in (
        (security.for_vehicles, "--plaintext"),
        (security.for_administrators, "--admin-plaintext"),
    ):
        if is_allowed:
            assert credentials(place) is None
        else:
            with pytest.raises(ListenError, match=f"or ask for it with {option}"):
                credentials(place)


def test_a_unix_socket_is_on_this_machine():
    assert SocketSecurity().for_vehicles(None) is None


def test_with_a_certificate_only_probes_on_this_machine_get_plain_text(fleet):
    here, anywhere = Place("127.0.0.1", 1), Place("0.0.0.0", 1)
    security = fleet.security(fleet.server())
    assert security.for_vehicles(here) is not None
    assert security.for_vehicles(None) is not None
    assert security.for_administrators(here) is None
    assert security.for_administrators(anywhere) is not None
    asked = SocketSecurity(tls=security.tls, admin_plain_text=True)
    assert asked.for_administrators(anywhere) is None


async def test_a_name_in_the_certificate_is_a_vehicle_s(tiny, fleet):
    pair = fleet.issue("car", *HERE, x509.DNSName("car-7"))
    async with running(tiny, security=fleet.security(fleet.server())) as run:
        await drive(run, fleet.client(pair), "car-7")
        with pytest.raises(AccessDenied, match="does not own the vehicle 'car-8'"):
            await drive(run, fleet.client(pair), "car-8")
