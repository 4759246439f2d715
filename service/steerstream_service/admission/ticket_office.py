"""Seals sessions' states into tickets, and opens them again.

```
version | length of the key's name | name | issued, ms | session | salt | encrypted state
```

The state is encrypted with ChaCha20-Poly1305. What stands before it is authenticated with it, and
so are the vehicle's name, the model's digest and its precision: a ticket opens for that vehicle and
that model, or not at all.

A fleet seals billions of tickets with one key, too many for nonces of 96 random bits. So each
ticket has a key of its own, the HMAC of its session and salt under the key of the file, and that
key is used once: these are 64 random bits of the session and 128 of the ticket.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import logging
import secrets
import stat
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from steerstream_bundle.loading import Bundle
from steerstream_service import config
from steerstream_service.admission.watched_files import WatchedFiles
from steerstream_service.errors import BadTicketError, ConfigError
from steerstream_service.session import ticket
from steerstream_service.session.ticket import SessionState, TicketError
from steerstream_service.telemetry.logs import fields

KEY_BYTES = 32
"""Of a key in the file: `openssl rand -base64 32`."""

_VERSION = 1
_SESSION_BYTES, _SALT_BYTES = 8, 16
_ISSUED = struct.Struct("<Q")
_ONCE = bytes(12)
"""The nonce: each ticket's key is used for nothing else."""
_LONGEST_NAME = 64
_EPOCH, _DAY_S = dt.date(1970, 1, 1), 86_400
_LINE = f"'name = base64 of {KEY_BYTES} bytes', with the day it was made, YYYY-MM-DD, or without"

_log = logging.getLogger(__name__)


class TicketKey(NamedTuple):
    """A key of the file.

    Attributes:
        secret: the key itself.
        made_on: the day when it was made, by its line; None where that says nothing.
    """

    secret: bytes
    made_on: dt.date | None = None


class TicketOffice:
    """Seals and opens the tickets of one server.

    Args:
        keys_file: lines of `name = base64` of 32 bytes, and the day of each where it has one; the
            first seals, all open. None for a random key, which no other server has.
        valid_for_s: seconds for which a ticket is accepted. Servers' wall clocks must agree to a
            fraction of it.
        wall_s: the wall clock, which all servers share, in seconds; None for this machine's.

    Raises:
        ConfigError: the file cannot be read, or holds no keys.
    """

    def __init__(
        self,
        keys_file: Path | None,
        valid_for_s: float,
        wall_s: Callable[[], float] | None = None,
    ) -> None:
        self.valid_for_ms = round(valid_for_s * 1e3)
        self._wall_s = wall_s or time.time
        self._random = _random_key()
        self._file = None if keys_file is None else _watched(keys_file)

    def seal(self, state: SessionState, vehicle_id: str, bundle: Bundle, session_id: str) -> bytes:
        """Return a session's state as a ticket.

        Args:
            state: what the next answer depends on.
            vehicle_id: the vehicle, which alone can use it.
            bundle: the model.
            session_id: of the session, 16 hexadecimal digits.
        """
        name, (key, _) = next(iter(self._keys.items()))
        salt = bytes.fromhex(session_id) + secrets.token_bytes(_SALT_BYTES)
        head = bytes([_VERSION, len(name)]) + name + _ISSUED.pack(self._now_ms()) + salt
        cipher = ChaCha20Poly1305(hmac.digest(key, salt, "sha256"))
        return head + cipher.encrypt(_ONCE, ticket.pack(state), head + _bound(vehicle_id, bundle))

    def open(self, sealed: bytes, vehicle_id: str, bundle: Bundle) -> SessionState:
        """Return the state in a ticket; the age of its command counts the time since.

        Args:
            sealed: the ticket.
            vehicle_id: the vehicle that sent it.
            bundle: the model that the vehicle asks for.

        Raises:
            BadTicketError: the ticket cannot be used; the text says why, as far as that is known.
        """
        name, issued_ms, body = _parts(sealed)
        key = self._keys.get(name)
        if key is None:
            shown = name.decode(errors="replace")
            raise _refusal(f"its key {shown!r:.80} is not known here")
        salt = sealed[body - _SESSION_BYTES - _SALT_BYTES : body]
        cipher = ChaCha20Poly1305(hmac.digest(key.secret, salt, "sha256"))
        bound = sealed[:body] + _bound(vehicle_id, bundle)
        try:
            state = ticket.unpack(cipher.decrypt(_ONCE, sealed[body:], bound), bundle.contract)
        except InvalidTag:
            raise _refusal("it is forged, or of another vehicle, model or precision") from None
        except TicketError as error:
            raise _refusal(str(error)) from None
        # Judged after the seal: before, nobody knows that the time is true.
        age_ms = self._now_ms() - issued_ms
        if abs(age_ms) > self.valid_for_ms:
            raise _refusal(f"it is {age_ms / 1e3:.1f} s old, of {self.valid_for_ms / 1e3:g}")
        if state.held is None:
            return state
        held = replace(state.held, age_ms=state.held.age_ms + max(0, age_ms))
        return replace(state, held=held)

    @property
    def key_age_s(self) -> float | None:
        """Seconds since the day when the key that seals was made; None where that is unknown."""
        made_on = next(iter(self._keys.values())).made_on
        if made_on is None:
            return None
        return self._wall_s() - (made_on - _EPOCH).days * _DAY_S

    def _now_ms(self) -> int:
        return round(self._wall_s() * 1e3)

    @property
    def _keys(self) -> Mapping[bytes, TicketKey]:
        return self._random if self._file is None else self._file.content


def session_of(sealed: bytes) -> str:
    """Return the id of the session that a ticket is of; true only of one that opens."""
    _, _, body = _parts(sealed)
    start = body - _SESSION_BYTES - _SALT_BYTES
    return sealed[start : start + _SESSION_BYTES].hex()


def _watched(path: Path) -> WatchedFiles[Mapping[bytes, TicketKey]]:
    return WatchedFiles(
        "ticket_keys",
        [path],
        lambda: _read(path),
        lambda keys: {"keys": [name.decode() for name in keys]},
    )


def _read(path: Path) -> Mapping[bytes, TicketKey]:
    keys = read_keys(path)
    if path.stat().st_mode & stat.S_IROTH:
        hint = f"every user of this machine may read it; chmod o= {path}"
        _log.warning("ticket_keys_open_to_all", extra=fields(reason=hint))
    return keys


def read_keys(path: Path) -> Mapping[bytes, TicketKey]:
    """Read keys by their names, the one that seals first.

    Raises:
        ConfigError: the file cannot be read, or a line is no key; the message never holds a key.
    """
    try:
        text = config.read_file(path, "ticket_keys").decode("ascii")
    except UnicodeDecodeError:
        raise ConfigError(f"ticket_keys: {path}: not ASCII text") from None
    keys: dict[bytes, TicketKey] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, key = _key(line, f"ticket_keys: {path}: line {number}")
            if name in keys:
                raise ConfigError(f"ticket_keys: {path}: line {number}: the name is used twice")
            keys[name] = key
    if not keys:
        raise ConfigError(f"ticket_keys: {path}: no line is {_LINE}")
    return keys


def _key(line: str, place: str) -> tuple[bytes, TicketKey]:
    name, _, rest = line.partition("=")
    name = name.strip()
    try:
        encoded, *days = rest.split()
        secret = base64.b64decode(encoded, validate=True)
        (made_on,) = map(dt.date.fromisoformat, days) if days else (None,)
    except ValueError:
        secret = b""
    if not 1 <= len(name) <= _LONGEST_NAME or len(secret) != KEY_BYTES:
        raise ConfigError(f"{place}: must be {_LINE}")
    return name.encode(), TicketKey(secret, made_on)


def _random_key() -> Mapping[bytes, TicketKey]:
    name = b"process-" + secrets.token_hex(4).encode()
    return {name: TicketKey(secrets.token_bytes(KEY_BYTES))}


def _parts(sealed: bytes) -> tuple[bytes, int, int]:
    """Return a ticket's key, when it was issued, and where the encrypted state begins."""
    name_end = 2 + (sealed[1] if len(sealed) > 1 else 0)
    body = name_end + _ISSUED.size + _SESSION_BYTES + _SALT_BYTES
    if len(sealed) < body or sealed[0] != _VERSION:
        raise _refusal("it is no ticket of this version")
    (issued_ms,) = _ISSUED.unpack_from(sealed, name_end)
    return sealed[2:name_end], issued_ms, body


def _bound(vehicle_id: str, bundle: Bundle) -> bytes:
    """Return what a ticket is bound to, each part with its length."""
    parts = (vehicle_id, bundle.sha256, bundle.contract.provenance.precision)
    # A digest: parts of any length cannot be mistaken for each other.
    return b"".join(hashlib.sha256(part.encode()).digest() for part in parts)


def _refusal(why: str) -> BadTicketError:
    return BadTicketError(f"the ticket cannot be used: {why}; open without a ticket")
