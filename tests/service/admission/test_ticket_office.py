"""Tickets open for their vehicle and their model, for a while, and for nobody else."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import logging
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from steerstream_bundle import loading
from steerstream_bundle.contract import Provenance
from steerstream_service.admission import watched_files
from steerstream_service.admission.ticket_office import (
    TicketKey,
    TicketOffice,
    read_keys,
    session_of,
)
from steerstream_service.domain import Command, ControlValues, Limit, Timings, Validity
from steerstream_service.errors import BadTicketError, ConfigError
from steerstream_service.session.ticket import pack
from steerstream_service.telemetry.logs import JsonLines
from tests.service import bundles, states

HELD = Command(
    7,
    350,
    ControlValues(0.2, 9.0, None),
    ControlValues(0.1, 8.0, None),
    (Limit.ACCELERATION,),
    Validity.HELD,
    12.0,
    0,
    0,
    8,
    Timings(0, 0, 0, 0, 0),
)
STATE = states.state(held=HELD, tensors=bytes(range(12)))


SESSION = "0123456789abcdef"


class Wall:
    """A wall clock that a test sets."""

    def __init__(self):
        self.now_s = 1_000.0

    def __call__(self):
        return self.now_s


def key_line(name, seed):
    return f"{name} = {base64.b64encode(bytes([seed]) * 32).decode()}\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return loading.load(bundles.recurrent(tmp_path_factory.mktemp("bundle") / "tiny.onnx"))


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# of the fleet\n\n" + key_line("new", 1) + key_line("old", 2))
    path.chmod(0o600)
    return path


def test_any_server_with_the_key_opens_a_ticket(tiny, keys):
    sealed = TicketOffice(keys, 60, Wall()).seal(STATE, "car", tiny, SESSION)
    assert TicketOffice(keys, 60, Wall()).open(sealed, "car", tiny) == STATE
    assert b"new" in sealed[:10], "the key's name is in clear"
    assert STATE.tensors not in sealed


def test_a_ticket_is_laid_out_as_the_module_says(tiny, keys):
    """Servers of several releases share a key, so the layout is a contract."""
    sealed = TicketOffice(keys, 60, Wall()).seal(STATE, "car", tiny, SESSION)
    head, salt, body = sealed[:13], sealed[13:37], sealed[37:]
    assert salt[:8].hex() == SESSION
    assert head == b"\x01\x03new" + (1_000_000).to_bytes(8, "little")
    parts = ("car", tiny.sha256, tiny.contract.provenance.precision)
    bound = b"".join(hashlib.sha256(part.encode()).digest() for part in parts)
    cipher = ChaCha20Poly1305(hmac.digest(bytes([1]) * 32, salt, "sha256"))
    assert cipher.decrypt(bytes(12), body, head + salt + bound) == pack(STATE)


def test_a_ticket_names_its_session_and_opens_for_no_other(tiny, keys):
    office = TicketOffice(keys, 60, Wall())
    sealed, again = (office.seal(STATE, "car", tiny, SESSION) for _ in range(2))
    assert session_of(sealed) == session_of(again) == SESSION
    assert sealed[21:37] != again[21:37], "each has a key of its own"
    other = sealed[:13] + bytes(8) + sealed[21:]
    assert session_of(other) == "0" * 16
    with pytest.raises(BadTicketError, match="it is forged"):
        office.open(other, "car", tiny)


def test_a_ticket_without_a_command_to_hold_opens_as_it_was(tiny, keys):
    office = TicketOffice(keys, 60, Wall())
    state = dataclasses.replace(STATE, held=None)
    assert office.open(office.seal(state, "car", tiny, SESSION), "car", tiny) == state


def test_a_ticket_without_its_state_is_forged(tiny, keys):
    office = TicketOffice(keys, 60, Wall())
    with pytest.raises(BadTicketError, match="it is forged"):
        office.open(office.seal(STATE, "car", tiny, SESSION)[:37], "car", tiny)


def test_a_state_of_another_size_is_named(tiny, keys):
    office = TicketOffice(keys, 60, Wall())
    sealed = office.seal(STATE, "car", tiny, SESSION)
    other = changed(tiny, contract=dataclasses.replace(tiny.contract, state=()))
    with pytest.raises(
        BadTicketError, match="used: the ticket's state is not of this model's size"
    ):
        office.open(sealed, "car", other)


def test_a_held_command_ages_with_its_ticket(tiny, keys):
    wall = Wall()
    office = TicketOffice(keys, 60, wall)
    sealed = office.seal(STATE, "car", tiny, SESSION)
    wall.now_s += 1.5
    assert office.open(sealed, "car", tiny).held.age_ms == 1512.0
    wall.now_s -= 3.0
    assert office.open(sealed, "car", tiny).held.age_ms == 12.0, "a clock that is behind"


def test_a_ticket_is_too_old_after_its_time(tiny, keys):
    wall = Wall()
    office = TicketOffice(keys, 60, wall)
    assert office.valid_for_ms == 60_000
    sealed = office.seal(STATE, "car", tiny, SESSION)
    wall.now_s += 60
    office.open(sealed, "car", tiny)
    for now_s, age in ((1060.1, r"60\.1"), (939.9, r"-60\.1")):
        wall.now_s = now_s
        with pytest.raises(BadTicketError, match=f"it is {age} s old, of 60; open without"):
            office.open(sealed, "car", tiny)


def other_model(tiny):
    return changed(tiny, sha256="0" * 64)


def other_precision(tiny):
    provenance = Provenance(precision="int8")
    return changed(tiny, contract=dataclasses.replace(tiny.contract, provenance=provenance))


def changed(bundle, **attributes):
    copy = object.__new__(type(bundle))
    copy.__dict__.update({**bundle.__dict__, **attributes})
    return copy


@pytest.mark.parametrize("other", [other_model, other_precision])
def test_a_ticket_opens_for_no_other_model(tiny, keys, other):
    office = TicketOffice(keys, 60)
    sealed = office.seal(STATE, "car", tiny, SESSION)
    with pytest.raises(BadTicketError, match="another vehicle, model or precision"):
        office.open(sealed, "car", other(tiny))


@given(st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=128))
def test_a_ticket_opens_for_no_other_vehicle(name):
    office, tiny = OFFICE, BUNDLE
    sealed = office.seal(STATE, "car-a", tiny, SESSION)
    if name == "car-a":
        assert office.open(sealed, name, tiny) == STATE
    else:
        with pytest.raises(BadTicketError, match="another vehicle"):
            office.open(sealed, name, tiny)


@given(st.data())
def test_a_ticket_with_any_bit_changed_does_not_open(data):
    office, tiny = OFFICE, BUNDLE
    sealed = bytearray(office.seal(STATE, "car", tiny, SESSION))
    at = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(BadTicketError):
        office.open(bytes(sealed), "car", tiny)


@given(st.binary(max_size=300))
def test_other_bytes_do_not_open(data):
    with pytest.raises(BadTicketError):
        OFFICE.open(data, "car", BUNDLE)


class _Tiny:
    """As much of a bundle as a ticket is bound to."""

    sha256 = "ab" * 32
    contract = bundles.contract()


OFFICE = TicketOffice(None, 60)
BUNDLE: Any = _Tiny()


def test_without_a_file_only_the_same_process_opens_its_tickets(tiny):
    office = TicketOffice(None, 60)
    sealed = office.seal(STATE, "car", tiny, SESSION)
    assert office.open(sealed, "car", tiny).tensors == STATE.tensors
    with pytest.raises(BadTicketError, match=r"its key 'process-[0-9a-f]{8}' is not"):
        TicketOffice(None, 60).open(sealed, "car", tiny)


def test_no_two_tickets_are_alike(tiny, keys):
    office = TicketOffice(keys, 60, Wall())
    sealed = {office.seal(STATE, "car", tiny, SESSION)[-60:] for _ in range(100)}
    assert len(sealed) == 100


def test_keys_change_while_the_server_runs(tiny, keys, monkeypatch, caplog):
    monkeypatch.setattr(watched_files, "_LOOK_AGAIN_S", 0.0)
    caplog.set_level(logging.INFO)
    office = TicketOffice(keys, 60, Wall())
    by_new = office.seal(STATE, "car", tiny, SESSION)
    keys.write_text(key_line("newest", 3) + key_line("new", 1))
    by_newest = office.seal(STATE, "car", tiny, SESSION)
    assert b"newest" in by_newest[:12]
    line = JsonLines().format(caplog.records[-1])
    assert json.loads(line)["keys"] == ["newest", "new"]
    office.open(by_new, "car", tiny)
    keys.write_text("no key\n")
    assert office.open(by_newest, "car", tiny) == office.open(by_new, "car", tiny)
    assert "ticket_keys_not_read" in caplog.text
    keys.unlink()
    office.open(by_newest, "car", tiny)
    keys.write_text(key_line("newest", 3))
    with pytest.raises(BadTicketError, match=r"its key 'new' is not known"):
        office.open(by_new, "car", tiny)


@pytest.mark.parametrize(("mode", "warned"), [(0o640, False), (0o644, True)])
def test_keys_that_every_user_may_read_are_warned_of(keys, caplog, mode, warned):
    keys.chmod(mode)
    TicketOffice(keys, 60, Wall())
    said = [json.loads(JsonLines().format(record)) for record in caplog.records]
    about = (TicketOffice.__module__, "ticket_keys_open_to_all")
    hint = f"every user of this machine may read it; chmod o= {keys}"
    assert [(line["logger"], line["event"], line["reason"]) for line in said] == (
        [(*about, hint)] if warned else []
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line is 'name = base64 of 32 bytes'"),
        ("# only a comment\n", "no line is"),
        ("name\n", "line 1: must be"),
        ("a = c2hvcnQ=\n", "line 1: must be"),
        (" = " + key_line("", 1), "line 1: must be"),
        (key_line("a" * 65, 1), "line 1: must be"),
        (key_line("a", 1).replace("= ", "= !"), "line 1: must be"),
        (key_line("a", 1).rstrip() + " 2026-13-01", "line 1: must be .*YYYY-MM-DD"),
        (key_line("a", 1).rstrip() + " yesterday", "line 1: must be"),
        (key_line("a", 1).rstrip() + " 2026-11-30 2026-11-30", "line 1: must be"),
        ("a =\n", "line 1: must be"),
        (key_line("a", 1) + key_line("a", 2), "line 2: the name is used twice"),
        ("\xe9 = 1\n", "not ASCII text"),
    ],
)
def test_a_file_without_keys_is_refused(tmp_path, text, message):
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_keys(path)


def test_a_name_may_have_64_characters(tmp_path):
    path = tmp_path / "keys"
    path.write_text(key_line("a" * 64, 1))
    assert read_keys(path) == {b"a" * 64: TicketKey(bytes([1]) * 32)}


def test_the_age_of_the_key_that_seals_is_known_where_its_line_says_the_day(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"{key_line('new', 1).rstrip()} 1970-01-03 \n{key_line('old', 2)}")
    wall = Wall()
    office = TicketOffice(path, 60, wall)
    wall.now_s = 5 * 86400 + 1.5
    assert office.key_age_s == 3 * 86400 + 1.5
    path.write_text(f"{key_line('old', 2)}{key_line('new', 1).rstrip()} 1970-01-03\n")
    assert TicketOffice(path, 60, wall).key_age_s is None
    assert TicketOffice(None, 60, wall).key_age_s is None


def test_a_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^ticket_keys: .*: No such file"):
        TicketOffice(tmp_path / "keys", 60)
    with pytest.raises(ConfigError, match="not a regular file"):
        TicketOffice(tmp_path, 60)
