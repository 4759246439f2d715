"""Runs a command under the system call filters of a systemd unit, without systemd.

`python confined.py UNIT COMMAND ...`: reads SystemCallFilter, RestrictAddressFamilies and
MemoryDenyWriteExecute, loads the same filters with libseccomp, and becomes the command.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_EQUAL, _GREATER, _MASKED_EQUAL = 4, 6, 7
_WRITE, _EXECUTE = 2, 4
_SHM_EXEC = 0o100000
_MAX_FAMILY = 45


class _Compare(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Filter:
    """One filter in the kernel; several are all asked, and the strictest answer holds."""

    def __init__(self, default: int) -> None:
        self._library = ctypes.CDLL("libseccomp.so.2")
        self._library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, name: str, *compares: tuple[int, int, int, int]) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:  # of another architecture
            return
        array = (_Compare * len(compares))(*compares)  # type: ignore[misc]
        failed = self._library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(compares), array
        )
        if failed:
            raise OSError(-failed, f"rule for {name}")

    def load(self) -> None:
        if failed := self._library.seccomp_load(self._context):
            raise OSError(-failed, "seccomp_load")


def settings(unit: Path, name: str) -> list[str]:
    """The values of a setting of a unit, in order."""
    lines = (line.partition("=") for line in unit.read_text().splitlines())
    return [value for key, _, value in lines if key == name]


def environment(unit: Path) -> dict[str, str]:
    """This process's environment with what a unit sets."""
    given = (value.partition("=") for value in settings(unit, "Environment"))
    return {**os.environ, **{name: value for name, _, value in given}}


def _members(group: str) -> set[str]:
    """The system calls of a group such as @system-service, groups within it included."""
    if not group.startswith("@"):
        return {group}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    words = (line.strip() for line in listed)
    return set().union(*(_members(word) for word in words if word and not word.startswith("#")))


def allowed(unit: Path) -> set[str]:
    """The system calls that SystemCallFilter leaves; systemd always adds @default."""
    calls = _members("@default")
    for value in settings(unit, "SystemCallFilter"):
        groups = [_members(word) for word in value.removeprefix("~").split()]
        calls = calls.difference(*groups) if value.startswith("~") else calls.union(*groups)
    return calls


def confine(unit: Path) -> None:
    """Confine this process, and all that it starts, as the unit says."""
    by_arguments = _Filter(_ALLOW)
    if settings(unit, "MemoryDenyWriteExecute") == ["yes"]:
        both = _WRITE | _EXECUTE
        by_arguments.add(_REFUSE, "mmap", (2, _MASKED_EQUAL, both, both))
        by_arguments.add(_REFUSE, "mprotect", (2, _MASKED_EQUAL, _EXECUTE, _EXECUTE))
        by_arguments.add(_REFUSE, "pkey_mprotect", (2, _MASKED_EQUAL, _EXECUTE, _EXECUTE))
        by_arguments.add(_REFUSE, "shmat", (2, _MASKED_EQUAL, _SHM_EXEC, _SHM_EXEC))
    families = {
        getattr(socket, word) for word in settings(unit, "RestrictAddressFamilies")[0].split()
    }
    by_arguments.add(_REFUSE, "socket", (0, _GREATER, _MAX_FAMILY, 0))
    for family in set(range(_MAX_FAMILY + 1)) - families:
        by_arguments.add(_REFUSE, "socket", (0, _EQUAL, family, 0))
    by_name = _Filter(_REFUSE)
    for call in allowed(unit):
        by_name.add(_ALLOW, call)
    by_arguments.load()
    by_name.load()


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
