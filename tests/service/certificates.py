"""An authority, and what it signs: certificates as an operator makes them, in files."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import steerstream
from steerstream_service.transport.tls import ServerTls, SocketSecurity, TlsFiles

HOUR = dt.timedelta(hours=1)
HERE = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates, and writes them below its folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, folder.name)])
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._signed(self._name, self._key, (), HOUR, is_ca=True))

    def issue(self, name: str, *names: x509.GeneralName, valid_for: dt.timedelta = HOUR) -> Pair:
        """Write NAME.pem and NAME.key; valid from a day before its end."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        pair.key.write_bytes(pem(key))
        pair.certificate.write_bytes(self._signed(subject, key, names, valid_for, is_ca=False))
        return pair

    def server(self, name: str = "server", *, valid_for: dt.timedelta = HOUR) -> Pair:
        return self.issue(name, *HERE, valid_for=valid_for)

    def security(self, server: Pair, *, asks: bool = True) -> SocketSecurity:
        """A server's TLS, which asks vehicles for a certificate of this authority."""
        files = TlsFiles(server.certificate, server.key, self.file if asks else None)
        return SocketSecurity(tls=ServerTls(files))

    def client(self, pair: Pair | None = None) -> steerstream.Tls:
        """A client's TLS, which trusts this authority."""
        if pair is None:
            return steerstream.Tls(self.file)
        return steerstream.Tls(self.file, pair.certificate, pair.key)

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[x509.GeneralName, ...],
        valid_for: dt.timedelta,
        *,
        is_ca: bool,
    ) -> bytes:
        end = dt.datetime.now(dt.UTC) + valid_for
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(end - 24 * HOUR)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """A private key in PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )
