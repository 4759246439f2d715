"""Which bearer tokens are accepted, with real keys, and that a forged one never is."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from steerstream_service.admission import watched_files
from steerstream_service.errors import ConfigError, UnauthenticatedError
from steerstream_service.transport.tokens import Tokens, read_keys

ELLIPTIC = ec.generate_private_key(ec.SECP256R1())
EDWARDS = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, tuple[Any, str]] = {
    "fleet-1": (ELLIPTIC, "ES256"),
    "fleet-2": (EDWARDS, "EdDSA"),
    "fleet-3": (RSA, "RS256"),
}


def public(name, key, algorithm):
    shape = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**shape, "kid": name}


def key_set(*names):
    return json.dumps({"keys": [public(name, *KEYS[name]) for name in names]})


def token(name="fleet-1", **changes):
    """A token that is valid, or what becomes of it."""
    key, algorithm = KEYS[name]
    claims = {"sub": "car-7", "aud": "steerstream", "exp": time.time() + 60, **changes}
    kept = {claim: value for claim, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm, headers={"kid": name})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(key_set(*KEYS))
    return path


@pytest.mark.parametrize("name", KEYS)
def test_a_valid_token_tells_its_subject(file, name):
    tokens = Tokens(file, "steerstream")
    assert tokens.read(token(name)).subject == "car-7"
    assert tokens.read(token(name, aud=["other", "steerstream"])).subject == "car-7"


def test_a_valid_token_tells_its_end_with_what_clocks_may_differ_by(file):
    tokens = Tokens(file, "steerstream")
    assert tokens.read(token(exp=4_000_000_000)).valid_until_s == 4_000_000_010
    assert tokens.read(token(exp=10**400)).valid_until_s == 2**40 + 10
    with pytest.raises(UnauthenticatedError):
        tokens.read(token(exp=float("inf")))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": time.time() - 3600}, "Signature has expired"),
        ({"exp": None}, 'missing the "exp" claim'),
        ({"sub": None}, 'missing the "sub" claim'),
        ({"aud": None}, 'missing the "aud" claim'),
        ({"sub": 7}, "Subject must be a string"),
        ({"aud": "other"}, "Audience doesn't match"),
        ({"nbf": time.time() + 3600}, "not yet valid"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(file, changes, why):
    with pytest.raises(UnauthenticatedError, match=why):
        Tokens(file, "steerstream").read(token(**changes))


def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def forged(header, signature=b"x" * 64):
    claims = {"sub": "car-7", "aud": "steerstream", "exp": time.time() + 60}
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(map(encoded, parts))


def by_another_key():
    other = ec.generate_private_key(ec.SECP256R1())
    claims = {"sub": "car-7", "aud": "steerstream", "exp": time.time() + 60}
    return jwt.encode(claims, other, "ES256", headers={"kid": "fleet-1"})


def by_the_public_key_as_a_secret():
    """A token that asks to be judged by an algorithm whose secret everybody knows."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = RSA.public_key().public_bytes(serialization.Encoding.PEM, spki)
    claims = {"sub": "car-7", "aud": "steerstream", "exp": time.time() + 60}
    algorithm = jwt.get_algorithm_by_name("HS256")
    header = {"alg": "HS256", "kid": "fleet-3"}
    text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{text}.{encoded(algorithm.sign(text.encode(), secret))}"


FORGED = {
    "no signature": lambda: forged({"alg": "none", "kid": "fleet-1"}, b""),
    "another key": by_another_key,
    "the public key as a secret": by_the_public_key_as_a_secret,
    "a key of another kind": lambda: forged({"alg": "RS256", "kid": "fleet-1"}),
    "an unknown key": lambda: forged({"alg": "ES256", "kid": "fleet-9"}),
    "no key": lambda: forged({"alg": "ES256"}),
    "a key that is no text": lambda: forged({"alg": "ES256", "kid": ["fleet-1"]}),
    "a subject that was changed": lambda: token()[:40] + "A" + token()[41:],
    "no token": lambda: "car-7",
    "nothing": lambda: "",
    "a header without an end": lambda: encoded(b"[" * 6000) + ".e30.e30",
    "a header that is no text": lambda: encoded(b"\xff\xfe") + ".e30.e30",
    "no ASCII": lambda: "é.é.é",
}


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED)
def test_a_forged_token_is_refused(file, make):
    with pytest.raises(UnauthenticatedError, match="the token is not accepted: "):
        Tokens(file, "steerstream").read(make())


def test_keys_change_while_the_server_runs(file, monkeypatch):
    monkeypatch.setattr(watched_files, "_LOOK_AGAIN_S", 0.0)
    file.write_text(key_set("fleet-1"))
    tokens = Tokens(file, "steerstream")
    with pytest.raises(UnauthenticatedError, match="its key 'fleet-2' is not known here"):
        tokens.read(token("fleet-2"))
    file.write_text(key_set("fleet-1", "fleet-2"))
    assert tokens.read(token("fleet-1")).subject == tokens.read(token("fleet-2")).subject
    file.write_text("{")
    assert tokens.read(token("fleet-1")).subject == "car-7"
    file.write_text(key_set("fleet-2"))
    with pytest.raises(UnauthenticatedError, match="its key 'fleet-1' is not known here"):
        tokens.read(token("fleet-1"))


def keys(*items):
    return json.dumps({"keys": items})


ONE = public("fleet-1", ELLIPTIC, "ES256")
SECRET = jwt.get_algorithm_by_name("ES256").to_jwk(ELLIPTIC, as_dict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON Web Key Set"),
        ("[]", "no JSON Web Key Set"),
        ('{"keys": 1}', "no JSON Web Key Set"),
        ('{"keys": [1]}', "no JSON Web Key Set"),
        ("[" * 100_000, "no JSON Web Key Set"),
        (keys(), "holds no key"),
        (keys({**ONE, "kid": ""}), "key 1: has no kid"),
        (keys(ONE, ONE), "key 2: its kid is used twice"),
        (keys({**ONE, "x": "!"}), "key 1: cannot be read"),
        (keys({"kid": "a", "kty": "unheard of"}), "key 1: cannot be read"),
        (keys({**SECRET, "kid": "a"}), "key 1: is a private key; the server needs the public one"),
        (keys({"kid": "a", "kty": "oct", "k": "c2VjcmV0"}), "key 1: is for HS256, and not"),
    ],
)
def test_a_file_without_public_keys_is_refused(tmp_path, text, message):
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_keys(path)


def test_a_missing_file_is_named_with_its_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"token_keys: .*keys\.json: No such file or directory"):
        read_keys(tmp_path / "keys.json")
