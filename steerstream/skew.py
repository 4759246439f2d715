"""Several cameras of one vehicle: whether their pictures show the same moment."""

from __future__ import annotations

from collections.abc import Mapping

from steerstream.errors import BadRequest, CamerasApart

MAX_SKEW_MS = 10.0
"""At 30 m/s the vehicle moves by 0.3 m in this time."""


def check_skew(capture_times_ns: Mapping[str, int], *, max_skew_ms: float = MAX_SKEW_MS) -> int:
    """Return when pictures of several cameras were taken: the time of the oldest one.

    A picture that is put together of theirs is sent with it, so that its age is never told too low.

    Args:
        capture_times_ns: when each camera took its picture, by one clock, by the camera's name.
        max_skew_ms: how far apart they may be.

    Raises:
        CamerasApart: they are further apart; the message names the oldest and the newest one.
        BadRequest: there is no camera.
    """
    if not capture_times_ns:
        raise BadRequest("capture_times_ns needs at least one camera")
    oldest, newest = (
        choose(capture_times_ns, key=capture_times_ns.__getitem__) for choose in (min, max)
    )
    skew_ns = capture_times_ns[newest] - capture_times_ns[oldest]
    if skew_ns > max_skew_ms * 1e6:
        raise CamerasApart(
            f"the picture of {newest} was taken {skew_ns / 1e6:.1f} ms after that of {oldest}, and"
            f" {max_skew_ms:g} ms are allowed; trigger the cameras together"
        )
    return capture_times_ns[oldest]
