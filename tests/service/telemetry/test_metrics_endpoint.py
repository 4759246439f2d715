"""The endpoint that Prometheus scrapes, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import urllib.request

import pytest

from steerstream_service.address import Place
from steerstream_service.errors import ListenError
from steerstream_service.telemetry.observer import ServerState, SlotUse

parser = pytest.importorskip("prometheus_client.parser")

PLACE = Place("127.0.0.1", 0)


@contextlib.contextmanager
def endpoint(place=PLACE):
    from steerstream_service.telemetry.metrics import Metrics, registry
    from steerstream_service.telemetry.metrics_endpoint import Endpoint

    state = ServerState(
        {"tiny": SlotUse(2, 64)},
        load=0.0,
        serving=True,
        late=False,
        provider="cpu",
        runtimes={},
        settings={},
    )
    served = Endpoint(registry(Metrics(["tiny"]), lambda: state))
    taken = served.start(place)
    try:
        yield taken
    finally:
        served.stop()


def connect(place):
    return socket.create_connection((place.host, place.port), timeout=30)


def ask(place, request):
    with connect(place) as client:
        client.sendall(request)
        return client.makefile("rb").read()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_a_scrape_gets_all_families(host):
    with endpoint(Place(host, 0)) as place:
        assert place.host == host
        with urllib.request.urlopen(f"http://{place}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    names = {family.name for family in parser.text_string_to_metric_families(text)}
    assert {"steerstream_stage_seconds", "steerstream_slots", "process_cpu_seconds"} <= names


@pytest.mark.parametrize("request_", [b"\r\n\r\n", b"x" * 100_000, b"BREW / HTTP/1.1\r\n\r\n"])
def test_a_request_that_is_no_scrape_is_refused_silently(request_, capfd):
    with endpoint() as place:
        with contextlib.suppress(ConnectionError):
            assert b"steerstream_" not in ask(place, request_)
        assert b"steerstream_slots" in ask(place, b"GET /metrics HTTP/1.0\r\n\r\n")
    assert capfd.readouterr().err == ""


def test_idle_connections_are_bounded_and_others_are_closed_at_once():
    with endpoint() as place:
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(connect(place)).sendall(b"GET /met")
            assert ask(place, b"") == b""
        # The eight have gone; each gives its place back.
        assert any(
            b"steerstream_slots" in ask(place, b"GET /metrics HTTP/1.0\r\n\r\n")
            for _ in range(1000)
        )


def test_a_taken_port_is_named():
    with (
        endpoint() as place,
        pytest.raises(ListenError, match=f"cannot serve metrics on {place}: .*in use"),
        endpoint(place),
    ):
        pytest.fail("two endpoints share a port")


def test_after_the_stop_nobody_listens():
    with endpoint() as place:
        connect(place).close()
    with pytest.raises(ConnectionRefusedError):
        connect(place)
