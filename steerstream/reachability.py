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

_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXEMPTIONS = ("no_grpc_proxy", "no_proxy")
_DEFAULT_PORT = 443
"""Where gRPC connects if a target has no port."""


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
    proxy = None if is_local(target) else _proxy(target)
    if proxy is not None:
        return (
            f"was not reached through the proxy {proxy}; add the server's host to no_proxy to "
            "connect directly, or check that the proxy lets it through and that the server runs"
        )
    why = await _why_not_connected(target)
    if why is not None:
        return why
    if _unix_path(target) is not None:
        return "takes the connection and does not speak gRPC; check the target"
    return await _why_not_understood(*_host_and_port(target), tls)


async def _why_not_connected(target: str) -> str | None:
    """Return why there is no connection to a target, or None if there is one."""
    path = _unix_path(target)
    host, port = _host_and_port(target)
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            if path is not None:
                _, writer = await asyncio.open_unix_connection(path)
            else:
                _, writer = await asyncio.open_connection(host, port)
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


async def _why_not_understood(host: str, port: int, tls: ssl.SSLContext | None) -> str:
    """Return why a server that takes connections was not understood."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            hangs_up = await _shake_hands(host, port, tls or _any_certificate())
    except ssl.SSLCertVerificationError as error:
        return (
            f"has a certificate that is not trusted ({error.verify_message}); pass "
            "Tls(ca_file=...) with the authority that signed it, and connect by its name"
        )
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError
        speaks_tls = hangs_up = False
    else:
        speaks_tls = True
    if tls is None and speaks_tls:
        return "speaks TLS, and plain text was tried; pass tls=steerstream.Tls(...)"
    if tls is not None and not speaks_tls:
        return "speaks no TLS, which was tried; leave tls out, or check the port"
    if hangs_up:
        return (
            "hangs up after the TLS handshake, so it may ask for this client's certificate; pass "
            "Tls(certificate_file=..., key_file=...)"
        )
    return "takes the connection and does not speak gRPC; check the port"


async def _shake_hands(host: str, port: int, context: ssl.SSLContext) -> bool:
    """Begin a TLS connection; return whether the server then ends it at once.

    TLS 1.3 judges the client's certificate after the handshake.
    """
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        async with asyncio.timeout(_HANG_UP_TIMEOUT_S):
            return not await reader.read(1)
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        writer.transport.abort()


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _proxy(target: str) -> str | None:
    """Return the proxy that gRPC takes for a target and where it is set, or None."""
    host, _ = _host_and_port(target)
    exempt = next((os.environ[name] for name in _EXEMPTIONS if os.environ.get(name)), "")
    if any(host.endswith(item.strip()) for item in exempt.split(",") if item.strip()):
        return None
    for name in _PROXIES:
        if address := os.environ.get(name):
            # Not the whole address, which may hold a password.
            return f"{urllib.parse.urlsplit(address).hostname} of {name} in the environment"
    return None


def _unix_path(target: str) -> str | None:
    if target.startswith("unix:"):
        return re.sub("^//(?=/)", "", target.removeprefix("unix:"))
    if target.startswith("unix-abstract:"):
        return "\0" + target.removeprefix("unix-abstract:")
    return None


def _host_and_port(target: str) -> tuple[str, int]:
    """Return where a target leads; the first address where it lists several."""
    address = re.sub(r"^(dns|ipv4|ipv6):(//[^/]*/)?", "", target).partition(",")[0]
    found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]*)(?::(\d+))?", address)
    if found is None:  # an IPv6 address without brackets
        return address, _DEFAULT_PORT
    host, port = found[1] or found[3], found[2] or found[4]
    return host, int(port) if port else _DEFAULT_PORT
