"""TLS at the server's sockets, from files that may change while it serves.

gRPC asks for the certificate at each handshake, on a thread of its own, so a new one is in use for
the next connection. Connections that are open keep theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from steerstream_service import config
from steerstream_service.address import Place
from steerstream_service.admission.watched_files import WatchedFiles
from steerstream_service.errors import ConfigError, ListenError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the server's TLS comes from, all in PEM.

    Attributes:
        certificate: the server's certificate, followed by those between it and its authority.
        key: its private key, without a password.
        client_ca: the authorities that sign clients' certificates, which every client then has to
            show; None to ask for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class _Material:
    certificate: bytes
    key: bytes
    client_ca: bytes | None
    expires_s: float

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key, self.certificate)], root_certificates=self.client_ca
        )


class ServerTls:
    """The server's certificate and key, and the authorities of its clients.

    Args:
        files: where they are. They are read again when they change; files that do not fit together,
            because only one of them was replaced yet, change nothing.
        wall_s: the wall clock, in seconds since 1970.

    Raises:
        ConfigError: a file cannot be used; the message names it and says why.
    """

    def __init__(self, files: TlsFiles, wall_s: Callable[[], float] = time.time) -> None:
        self.asks_for_certificates = files.client_ca is not None
        self._wall_s = wall_s
        paths = [files.certificate, files.key, *([files.client_ca] if files.client_ca else [])]
        self._files = WatchedFiles(
            "tls_files",
            paths,
            lambda: _read(files, wall_s()),
            lambda material: {"expires_in_s": round(material.expires_s - wall_s())},
        )

    @property
    def expires_in_s(self) -> float:
        """Seconds until the server's certificate is no longer valid, below 0 after that."""
        return self._files.content.expires_s - self._wall_s()

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for one listening socket."""
        given = self._files.content

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            present = self._files.content
            if present is given:
                return None
            given = present
            return present.configuration()

        return grpc.dynamic_ssl_server_credentials(
            given.configuration(),
            changed,  # type: ignore[arg-type] # None stands for no change
            require_client_authentication=self.asks_for_certificates,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketSecurity:
    """How the server's sockets are protected.

    Attributes:
        tls: certificate and key; None for plain text.
        plain_text: whether plain text was asked for beyond this machine, for vehicles.
        admin_plain_text: the same for the administrators' socket, with `tls` or without.
    """

    tls: ServerTls | None = None
    plain_text: bool = False
    admin_plain_text: bool = False

    def for_vehicles(self, place: Place | None) -> grpc.ServerCredentials | None:
        """Return the credentials of the vehicles' socket; None for plain text.

        Args:
            place: where it listens; None for a Unix socket.

        Raises:
            ListenError: it would be plain text beyond this machine, and nobody asked for that.
        """
        if self.tls is not None:
            return self.tls.credentials()
        _check_plain_text(place, "--plaintext", is_asked_for=self.plain_text)
        return None

    def for_administrators(self, place: Place) -> grpc.ServerCredentials | None:
        """Return the credentials of the administrators' socket; None for plain text.

        On this machine it is plain text always: probes have no certificates.

        Raises:
            ListenError: as for the vehicles' socket.
        """
        if self.tls is not None and not self.admin_plain_text and not place.is_loopback:
            return self.tls.credentials()
        _check_plain_text(place, "--admin-plaintext", is_asked_for=self.admin_plain_text)
        return None


def _check_plain_text(place: Place | None, option: str, *, is_asked_for: bool) -> None:
    if not is_asked_for and place is not None and not place.is_loopback:
        raise ListenError(
            f"plain text at {place} could be read and changed on its way: give --tls-cert and "
            f"--tls-key, or ask for it with {option}"
        )


def _read(files: TlsFiles, now_s: float) -> _Material:
    certificate = config.read_file(files.certificate, "--tls-cert")
    key = config.read_file(files.key, "--tls-key")
    chain = _certificates(files.certificate, certificate)
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise ConfigError(f"{files.key}: the key has a password; give one without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{files.key}: holds no private key in PEM") from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    try:
        certified = chain[0].public_key().public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            f"{files.certificate}: the key in the first certificate cannot be used"
        ) from None
    if private.public_key().public_bytes(*form) != certified:
        raise ConfigError(
            f"{files.key}: is not the key of the first certificate in {files.certificate}"
        )
    expires = chain[0].not_valid_after_utc
    if expires.timestamp() <= now_s:
        raise ConfigError(f"{files.certificate}: the certificate expired at {expires:%F %T} UTC")
    client_ca = None
    if files.client_ca is not None:
        client_ca = config.read_file(files.client_ca, "--client-ca")
        _certificates(files.client_ca, client_ca)
    return _Material(certificate, key, client_ca, expires.timestamp())


def _certificates(path: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ConfigError(f"{path}: holds no certificate in PEM") from None
