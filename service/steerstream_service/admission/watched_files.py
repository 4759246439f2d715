"""What was read from files, and is read again when they change: keys and certificates.

Nothing watches the files. They are looked at when somebody asks for what is in them, at most once a
second, so that a change needs no signal and no restart. Files that cannot be used, half written for
example, change nothing: what was read before stays until they can.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from steerstream_service.errors import ConfigError
from steerstream_service.telemetry.logs import fields

_LOOK_AGAIN_S = 1.0
"""Between two looks at the files: what they say is in use a second later."""

_log = logging.getLogger(__name__)

_Read = TypeVar("_Read")
_Stamp = tuple[int, int, int] | None


class WatchedFiles(Generic[_Read]):
    """The present content of some files. Any thread may ask for it.

    Args:
        name: of the events in the log: `NAME_read`, and once for a change `NAME_not_read`.
        paths: the files, which are read together.
        read: reads them.
        describe: returns what the log says of what was read; never a secret.

    Raises:
        ConfigError: the files cannot be used at the start.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        read: Callable[[], _Read],
        describe: Callable[[_Read], Mapping[str, object]],
    ) -> None:
        self._name = name
        self._paths = paths
        self._read = read
        self._describe = describe
        self._lock = threading.Lock()
        # Before the files are read: a change between the two is seen at the next look.
        self._seen = self._stamps()
        self._content = read()
        self._is_doubted = False
        self._next_look_s = time.monotonic() + _LOOK_AGAIN_S

    @property
    def content(self) -> _Read:
        """What the files say now, or said when they could be used last."""
        with self._lock:
            now_s = time.monotonic()
            if now_s >= self._next_look_s:
                self._next_look_s = now_s + _LOOK_AGAIN_S
                self._look()
            return self._content

    def _look(self) -> None:
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._content = self._read()
        except ConfigError as error:
            if not self._is_doubted:
                _log.warning(f"{self._name}_not_read", extra=fields(reason=str(error)))
            self._is_doubted = True
        else:
            _log.info(f"{self._name}_read", extra=fields(**self._describe(self._content)))
            self._is_doubted = False

    def _stamps(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
