"""Finds how vehicles' cameras are mapped to those of their networks, and remembers it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from weakref import WeakValueDictionary

from steerstream import lens
from steerstream.warp import Warp
from steerstream_bundle.contract import FrameInput, TrainedCamera
from steerstream_service.admission.catalogue import Model
from steerstream_service.domain import Camera
from steerstream_service.errors import InvalidFieldError

_MOST = 256
"""Cameras of vehicles that are gone: a fleet has a few, and one takes a kilobyte."""

_Key = tuple[Camera, TrainedCamera, FrameInput]


class Cameras:
    """Remembers the cameras that came last, and those of all sessions; safe in every thread.

    A crowd with cameras of its own therefore makes no camera of a vehicle that drives unknown.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: OrderedDict[_Key, Warp | None] = OrderedDict()
        self._held: WeakValueDictionary[_Key, Warp] = WeakValueDictionary()

    def knows(self, camera: Camera, model: Model) -> bool:
        """Return whether `warp` need not compute anything."""
        key = _key(camera, model)
        with self._lock:
            return key in self._latest or key in self._held

    def warp(self, camera: Camera, model: Model) -> Warp | None:
        """Return what makes a network's input of a camera's pictures; None where they are cropped.

        It takes up to two milliseconds.

        Raises:
            InvalidFieldError: the camera's pictures do not show what the network needs.
        """
        if not lens.is_described(camera):
            return None
        key = _key(camera, model)
        with self._lock:
            is_known = key in self._latest
            found = self._latest.pop(key, None) or self._held.get(key)
        if found is None and not is_known:
            found = _found(key, model.name)
        with self._lock:
            self._latest[key] = found
            if found is not None:
                self._held[key] = found
            if len(self._latest) > _MOST:
                self._latest.popitem(last=False)
        return found


def _key(camera: Camera, model: Model) -> _Key:
    contract = model.bundle.contract
    return camera, contract.camera, contract.frame


def _found(key: _Key, model_name: str) -> Warp | None:
    camera, network, frame = key
    try:
        found = lens.mapping(
            camera, network, frame.crop, width_px=frame.width_px, height_px=frame.height_px
        )
    except lens.UnsuitableCameraError as error:
        raise InvalidFieldError(f"open.camera cannot be used with {model_name}: {error}") from None
    return None if found is None else Warp(found)
