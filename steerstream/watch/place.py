"""Where the page is served."""

from __future__ import annotations

import argparse
import ipaddress
import re
from typing import NamedTuple

_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/\s]+):([0-9]{1,5})")
_MAX_PORT = 65_535


class Place(NamedTuple):
    """A TCP address; an IPv6 host is without brackets, and port 0 is any free one."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The page's address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if is_ip(self.host):
            return ipaddress.ip_address(self.host).is_loopback
        return self.host == "localhost"


def place(text: str) -> Place:
    """Read `HOST:PORT`, for a command line."""
    found = _PLACE.fullmatch(text)
    if found is None or int(found[2]) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"needs HOST:PORT, not {text!r}")
    return Place(found[1].strip("[]"), int(found[2]))


def is_ip(text: str) -> bool:
    """Return whether a host is an IP address, and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
