"""Bearer tokens: JSON Web Tokens, signed with one of the keys in a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from steerstream_service import config
from steerstream_service.admission.watched_files import WatchedFiles
from steerstream_service.errors import ConfigError, UnauthenticatedError

ALGORITHMS = frozenset({"ES256", "ES384", "EdDSA", "RS256", "PS256"})
"""Signatures with a public key. A key has one of them, and a token does not choose."""

_REQUIRED = ("exp", "sub", "aud")
_LEEWAY_S = 10.0
"""How far the clocks of the issuer and of this machine may differ."""
_LAST_S = 2.0**40
"""Times after this one, in 36 thousand years, are as good as it, and fit into what counts them."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a valid token says.

    Attributes:
        subject: whose it is.
        valid_until_s: when it is accepted for the last time, by the wall clock.
    """

    subject: str
    valid_until_s: float


class Tokens:
    """Judges tokens.

    Args:
        keys_file: a JSON Web Key Set of public keys, each with a `kid`. It is read again when it
            changes.
        audience: what a token's `aud` must name.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, keys_file: Path, audience: str) -> None:
        self._audience = audience
        self._keys = WatchedFiles(
            "token_keys",
            [keys_file],
            lambda: read_keys(keys_file),
            lambda keys: {"keys": list(keys)},
        )

    def read(self, token: str) -> Shown:
        """Return what a token says that is valid now.

        Raises:
            UnauthenticatedError: it is not valid; the text says why.
        """
        try:
            name = jwt.get_unverified_header(token).get("kid", "")
            key = self._keys.content.get(name)
            if key is None:
                raise _refusal(f"its key {name!r:.80} is not known here")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                # By the key, and never by the token.
                algorithms=[key.algorithm_name],
                audience=self._audience,
                leeway=_LEEWAY_S,
                options={"require": list(_REQUIRED)},
            )
        except jwt.PyJWTError as error:
            raise _refusal(str(error)) from None
        except (ValueError, OverflowError, RecursionError):
            # Headers that are no text, or nested too deeply, and times without end get past the
            # library's own checks.
            raise _refusal("it is no JSON Web Token") from None
        return Shown(claims["sub"], min(int(claims["exp"]), _LAST_S) + _LEEWAY_S)


def read_keys(path: Path) -> Mapping[str, jwt.PyJWK]:
    """Read keys by their `kid`.

    Raises:
        ConfigError: the file holds no set of keys, or one that cannot be used; never a key's text.
    """
    data = config.read_file(path, "token_keys")
    try:
        found = json.loads(data)["keys"]
        items = [dict(item) for item in found]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigError(f"token_keys: {path}: no JSON Web Key Set") from None
    keys: dict[str, jwt.PyJWK] = {}
    for number, item in enumerate(items, start=1):
        name, key = _key(item, f"token_keys: {path}: key {number}")
        if name in keys:
            raise ConfigError(f"token_keys: {path}: key {number}: its kid is used twice")
        keys[name] = key
    if not keys:
        raise ConfigError(f"token_keys: {path}: holds no key")
    return keys


def _key(item: dict[str, Any], place: str) -> tuple[str, jwt.PyJWK]:
    name = item.get("kid")
    if not (isinstance(name, str) and name):
        raise ConfigError(f"{place}: has no kid")
    if "d" in item:
        raise ConfigError(f"{place}: is a private key; the server needs the public one alone")
    try:
        key = jwt.PyJWK(item)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise ConfigError(f"{place}: cannot be read") from None
    if key.algorithm_name not in ALGORITHMS:
        raise ConfigError(
            f"{place}: is for {key.algorithm_name}, and not for one of {sorted(ALGORITHMS)}"
        )
    return name, key


def _refusal(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"the token is not accepted: {why}; get a new one")
