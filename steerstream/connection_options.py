"""The options with which every command of a vehicle says how to connect: TLS, and a token."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypedDict

from steerstream.errors import BadRequest
from steerstream.transport import Tls, Token


class ConnectionArguments(TypedDict):
    """Arguments of `steerstream.connect`."""

    tls: Tls | None
    token: Token | None


PLAIN: ConnectionArguments = {"tls": None, "token": None}
"""Those of a connection without encryption and token."""


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; `connection_arguments` reads them."""
    group = parser.add_argument_group("connection")
    group.add_argument("--tls", action="store_true", help="speak TLS, by the authorities that gRPC"
        " knows; implied by the other options of TLS")  # fmt: skip
    group.add_argument("--tls-ca", metavar="FILE", help="trust the authorities in this file, PEM")
    group.add_argument("--tls-cert", metavar="FILE", help="show this certificate, PEM")
    group.add_argument("--tls-key", metavar="FILE", help="the key of --tls-cert, PEM (default: in"
        " the same file)")  # fmt: skip
    group.add_argument("--token-file", metavar="FILE", type=Path, help="send the bearer token in"
        " this file, which is read for each call")  # fmt: skip


def connection_arguments(options: argparse.Namespace) -> ConnectionArguments:
    """Return what the options say.

    Raises:
        BadRequest: there is no token in the file.
    """
    files = options.tls_ca, options.tls_cert, options.tls_key
    is_encrypted = options.tls or any(files)
    path = options.token_file
    if path is not None:
        read_token(path)
    return {
        "tls": Tls(*files) if is_encrypted else None,
        "token": None if path is None else lambda: read_token(path),
    }


def read_token(path: Path) -> str:
    """Read the token in a file.

    Raises:
        BadRequest: the file cannot be read, or is empty.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise BadRequest(f"cannot read the token in {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadRequest(f"{path} holds no token") from None
    if not token:
        raise BadRequest(f"{path} holds no token")
    return token
