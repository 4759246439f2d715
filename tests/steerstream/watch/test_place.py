"""Where the page is served."""

from __future__ import annotations

import argparse

import pytest

from steerstream.watch.place import Place, is_ip, place


@pytest.mark.parametrize(
    ("text", "read", "url", "is_loopback"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080), "http://127.0.0.1:8080/", True),
        ("localhost:0", ("localhost", 0), "http://localhost:0/", True),
        ("[::1]:80", ("::1", 80), "http://[::1]:80/", True),
        ("0.0.0.0:8080", ("0.0.0.0", 8080), "http://0.0.0.0:8080/", False),
        ("desk.example:1", ("desk.example", 1), "http://desk.example:1/", False),
    ],
)
def test_a_place_is_read_and_shown(text, read, url, is_loopback):
    found = place(text)
    assert found == Place(*read)
    assert found.url == url
    assert found.is_loopback is is_loopback


@pytest.mark.parametrize(
    "text", ["", "8080", "host", "host:", ":1", "host:65536", "::1:1", "a b:1"]
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="needs HOST:PORT"):
        place(text)


def test_addresses_are_told_from_names():
    assert is_ip("10.0.0.1")
    assert is_ip("::1")
    assert not is_ip("localhost")
    assert not is_ip("")
