"""Addresses are read strictly, found taken or free, and held for several processes."""

from __future__ import annotations

import contextlib
import socket

import pytest

from steerstream_service.address import (
    Place,
    check_free,
    check_socket_free,
    hold,
    parse,
    write_address,
)
from steerstream_service.errors import ConfigError, ListenError

ANY = Place("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:50051", Place("127.0.0.1", 50051)),
        ("[::1]:0", Place("[::1]", 0)),
        ("a-host.example:65535", Place("a-host.example", 65_535)),
        ("unix:/run/steerstream", None),
    ],
)
def test_an_address_is_read_and_written_the_same(text, place):
    assert parse(text) == place
    if place is not None:
        assert str(place) == text


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("[::]", False),
        ("192.168.1.2", False),
        ("car.example", False),
    ],
)
def test_a_loopback_address_is_told_from_others(host, is_loopback):
    assert Place(host, 1).is_loopback is is_loopback


def test_workers_that_share_no_port_have_one_after_the_other():
    place = Place("127.0.0.1", 9000)
    assert [place.for_worker(number).port for number in (None, 0, 1, 2)] == [9000, 9000, 9001, 9002]
    assert ANY.for_worker(3) == ANY
    assert Place("::", 65_534).for_worker(1).port == 65_535
    with pytest.raises(ListenError, match="worker 2 has no port after :::65534; the last is 65535"):
        Place("::", 65_534).for_worker(2)


@pytest.mark.parametrize(
    "text", ["", ":1", "host", "host:", "host:65536", "host:-1", "::1:5", "a b:1", "unix:", "h:1\n"]
)
def test_an_error_names_the_wrong_address(text):
    with pytest.raises(ListenError, match="give HOST:PORT or unix:PATH"):
        parse(text)


def test_a_port_that_listens_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        place = Place("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ListenError, match=f"cannot listen on {place}: Address already in use"):
            check_free(place)
    check_free(place)


def test_a_name_that_no_machine_has_is_named():
    with pytest.raises(ListenError, match=r"cannot listen on steerstream\.invalid:1: "):
        check_free(Place("steerstream.invalid", 1))


def test_a_held_port_is_free_for_its_workers_and_taken_for_others():
    with hold(ANY) as held:
        assert held.port
        with socket.socket() as sharing:
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sharing.bind((held.host, held.port))
        for other in (check_free, lambda place: hold(place).__enter__()):
            with pytest.raises(ListenError, match="Address already in use"):
                other(held)
    check_free(held)


def test_nobody_is_connected_to_a_held_port():
    with hold(ANY) as held, pytest.raises(ConnectionRefusedError):
        socket.create_connection((held.host, held.port), timeout=30)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: a Unix socket's path must be short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_unix_socket_is_free_where_nothing_is_or_a_dead_server_left_it(folder):
    check_socket_free("unix:socket")
    assert not (folder / "socket").exists()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("socket")
    check_socket_free("unix:socket")
    assert (folder / "socket").is_socket()


@pytest.mark.parametrize("waiting", [0, 5])
def test_a_unix_socket_that_a_server_listens_on_is_taken(folder, waiting):
    """Also where its queue of connections is full."""
    with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as clients:
        server.bind("socket")
        server.listen(0)
        for _ in range(waiting):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect("socket")
        with pytest.raises(ListenError, match="unix:socket: Address already in use"):
            check_socket_free("unix:socket")


def test_a_unix_socket_takes_no_files_place(folder):
    (folder / "notes").write_text("mine")
    with pytest.raises(ListenError, match="unix:notes: the path exists, and is no socket"):
        check_socket_free("unix:notes")


def test_a_path_that_is_too_long_for_a_socket_is_named(folder):
    long = folder / ("x" * 200)
    for make in (lambda: None, long.touch):
        make()
        with pytest.raises(ListenError, match="too long"):
            check_socket_free(f"unix:{long}")


def test_an_address_is_written_whole_for_scripts(tmp_path):
    write_address(tmp_path / "port", "127.0.0.1:5")
    assert (tmp_path / "port").read_text() == "127.0.0.1:5\n"
    write_address(None, "127.0.0.1:5")
    with pytest.raises(ConfigError, match="port: Not a directory"):
        write_address(tmp_path / "port" / "port", "127.0.0.1:5")
