"""Whether a proxy is in the way of a server, and why a server was not reached.

gRPC reports every failed connection as unavailable. So after one the target is tried with plain
sockets, which tell the causes apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import socket
import ssl
import urllib.parse

PROBE_TIMEOUT_S = 1.0
"""How long each look at a target may take, after the connection has failed."""

_HANG_UP_TIMEOUT_S = 0.5
"""How long a server may take to end a connection whose certificate it refuses."""

_HTTP2_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""An empty SETTINGS frame, the first that either side sends; byte 3 is the frame's type."""

_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _HTTP2_SETTINGS

_TOO_SLOW = "is there and answers too slowly; pass a longer timeout_s"
_NO_GRPC = "takes the connection and does not speak gRPC; check the port"

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXEMPTIONS = ("no_grpc_proxy", "no_proxy")
_DEFAULT_PORT = 443
"""Where gRPC connects if a target has no port."""
_MAX_PORT = 65_535


def why_impossible(target: str) -> str | None:
    """Return why a target can be no server's, as `why_unreachable` does, or None if it can.

    gRPC would connect to another port in the place of one that does not exist.
    """
    if scheme := re.match("https?://", target):
        return f"is an address of the web; leave out {scheme[0]!r}, and check the target"
    _, port = _host_and_port(target)
    if _unix_path(target) is None and not 1 <= port <= _MAX_PORT:
        return f"has no possible port; check the port, which is 1 to {_MAX_PORT}"
    return None


def is_local(target: str) -> bool:
    """Return whether a target is on this machine, where a proxy cannot be meant."""
    if _unix_path(target) is not None:
        return True
    host, _ = _host_and_port(target)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


async def why_unreachable(target: str, tls: ssl.SSLContext | None) -> str:
    """Return why a target is not reached and what to do, as a sentence goes on after its name.

    Args:
        target: a target of gRPC.
        tls: how the connection was to be encrypted; None for plain text.
    """
    variable = None if is_local(target) else _proxy_variable(target)
    proxy = None if variable is None else _proxy_host(os.environ[variable])
    if proxy is not None:
        return (
            f"was not reached through the proxy {proxy} of {variable} in the environment; add the "
            "server's host to no_proxy to connect directly, or check that the proxy lets it "
            "through and that the server runs"
        )
    why = await _why_not_connected(target) or await _why_not_understood(target, tls)
    if _lacks_port(target):
        why += f"; no port was given, so {_DEFAULT_PORT} was tried"
    if variable is not None:
        why += f"; {variable} in the environment is not http://HOST:PORT and was not used"
    return why


async def _why_not_connected(target: str) -> str | None:
    """Return why there is no connection to a target, or None if there is one."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await _open(target)
            writer.transport.abort()
    except TimeoutError:
        return "does not answer; check the host, and that no firewall is in the way"
    except socket.gaierror as error:
        return f"has no address ({error.strerror}); check the host's name"
    except ConnectionRefusedError:
        return "refuses the connection: nobody listens there; start the server, or check the port"
    except OSError as error:
        return f"cannot be reached ({error.strerror or error}); check the target"
    except (ValueError, OverflowError) as error:
        return f"is no address of a socket ({error}); check the target"
    return None


async def _why_not_understood(target: str, tls: ssl.SSLContext | None) -> str:
    """Return why a server that takes connections was not understood."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            hangs_up, speaks_http2 = await _shake_hands(target, tls or _any_certificate())
    except ssl.SSLCertVerificationError as error:
        return (
            f"has a certificate that is not trusted ({error.verify_message}); pass "
            "Tls(ca_file=...) or --tls-ca with the authority that signed it, and connect by its "
            "name"
        )
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError
        return await _why_not_understood_in_plain_text(target, tls_was_tried=tls is not None)
    if tls is None:
        return "speaks TLS, and plain text was tried; pass tls=steerstream.Tls(...) or --tls-ca"
    if hangs_up:
        return (
            "hangs up after the TLS handshake, so it may ask for this client's certificate, or not "
            "accept the one that it was shown: another authority's, or expired; pass "
            "Tls(certificate_file=..., key_file=...) or --tls-cert and --tls-key"
        )
    return _TOO_SLOW if speaks_http2 else _NO_GRPC


async def _why_not_understood_in_plain_text(target: str, *, tls_was_tried: bool) -> str:
    """Return why a server that speaks no TLS was not understood."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            speaks_http2 = await _greet(target)
    except TimeoutError:
        return (
            "takes the connection and answers nothing: it may be busy, stuck, or no gRPC server; "
            "check it, or check the port"
        )
    except OSError:
        speaks_http2 = False
    if tls_was_tried:
        return "speaks no TLS, which was tried; leave tls out, or check the port"
    return _TOO_SLOW if speaks_http2 else _NO_GRPC


async def _shake_hands(target: str, context: ssl.SSLContext) -> tuple[bool, bool]:
    """Begin a TLS connection.

    Returns:
        Whether the server then ends it at once, since TLS 1.3 judges the client's certificate
        after the handshake; and whether it agrees to speak HTTP/2.
    """
    context.set_alpn_protocols(["h2"])
    reader, writer = await _open(target, context)
    speaks_http2 = writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    try:
        async with asyncio.timeout(_HANG_UP_TIMEOUT_S):
            return not await reader.read(1), speaks_http2
    except TimeoutError:
        return False, speaks_http2
    except OSError:
        return True, speaks_http2
    finally:
        writer.transport.abort()


async def _greet(target: str) -> bool:
    """Begin HTTP/2 in plain text; return whether the server answers in HTTP/2."""
    reader, writer = await _open(target)
    try:
        writer.write(_HTTP2_GREETING)
        return (await reader.read(len(_HTTP2_SETTINGS)))[3:4] == _HTTP2_SETTINGS[3:4]
    finally:
        writer.transport.abort()


async def _open(
    target: str, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a target with a plain socket, or with TLS."""
    host, port = _host_and_port(target)
    path = _unix_path(target)
    if path is None:
        return await asyncio.open_connection(host, port, ssl=context)
    return await asyncio.open_unix_connection(
        path, ssl=context, server_hostname=None if context is None else "localhost"
    )


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _proxy_variable(target: str) -> str | None:
    """Return the variable of the environment that gRPC reads a target's proxy from, or None."""
    host, _ = _host_and_port(target)
    exempt = next((os.environ[name] for name in _EXEMPTIONS if os.environ.get(name)), "")
    if any(host.endswith(item.strip()) for item in exempt.split(",") if item.strip()):
        return None
    return next((name for name in _PROXIES if os.environ.get(name)), None)


def _proxy_host(address: str) -> str | None:
    """Return a proxy's host, without the password beside it; None where gRPC cannot use it."""
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(address)
        if parts.scheme == "http":
            return parts.hostname
    return None


def _unix_path(target: str) -> str | None:
    if target.startswith("unix:"):
        return re.sub("^//(?=/)", "", target.removeprefix("unix:"))
    if target.startswith("unix-abstract:"):
        return "\0" + target.removeprefix("unix-abstract:")
    return None


def _host_and_port(target: str) -> tuple[str, int]:
    """Return where a target leads; the first address where it lists several."""
    host, port = _split(target)
    return host, int(port) if port else _DEFAULT_PORT


def _lacks_port(target: str) -> bool:
    return _unix_path(target) is None and not _split(target)[1]


def _split(target: str) -> tuple[str, str]:
    """Return a target's host and port, as they are written; the port is empty if it has none."""
    address = re.sub(r"^(dns|ipv4|ipv6):(//[^/]*/)?", "", target).partition(",")[0]
    found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]*)(?::(\d+))?", address)
    if found is None:  # an IPv6 address without brackets
        return address, ""
    return found[1] or found[3], found[2] or found[4] or ""
