"""Requests as bytes, made once: a frame costs its sender no more than joining two strings.

A load generator that encoded every frame afresh would measure itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.loadgen import synthetic_road
from steerstream.v1 import drive_service_pb2, frame_pb2, session_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

ENCODINGS = ("jpeg", "rgb8")
PICTURES = 32
"""Different pictures in turn, so that no cache sees the same one twice in a row."""

_FRAME_TAG = bytes([drive_service_pb2.DriveRequest.FRAME_FIELD_NUMBER << 3 | 2])
LATEST = session_pb2.FRAME_POLICY_LATEST
EVERY = session_pb2.FRAME_POLICY_EVERY


def road_images(encoding: str, width_px: int, height_px: int, count: int = PICTURES) -> list[bytes]:
    """Return road-like pictures, each as the image field of a `Frame` in its wire format.

    Args:
        encoding: one of `ENCODINGS`.
        width_px: columns.
        height_px: rows.
        count: how many different ones.
    """
    pictures = synthetic_road.road_pictures(count, width_px=width_px, height_px=height_px)
    if encoding == "jpeg":
        return jpeg_images(synthetic_road.jpegs(pictures))
    return [
        frame_pb2.Frame(
            rgb8=frame_pb2.Rgb8Image(
                width_px=width_px, height_px=height_px, pixels=picture.tobytes()
            )
        ).SerializeToString()
        for picture in pictures
    ]


def jpeg_images(files: Sequence[bytes]) -> list[bytes]:
    """Return JPEG files, each as the image field of a `Frame` in its wire format."""
    return [frame_pb2.Frame(jpeg=data).SerializeToString() for data in files]


def open_request(
    vehicle_id: str,
    *,
    budget_ms: float,
    rate_hz: float,
    policy: session_pb2.FramePolicy.ValueType = LATEST,
) -> bytes:
    """Return the request that opens a session."""
    opening = session_pb2.OpenSession(
        vehicle_id=vehicle_id, budget_ms=budget_ms, frame_rate_hz=rate_hz, frame_policy=policy
    )
    return drive_service_pb2.DriveRequest(open=opening).SerializeToString()


def frame_request(image: bytes, sequence_number: int, capture_time_ns: int) -> bytes:
    """Return the request that carries a frame.

    Args:
        image: an item of `road_images`.
        sequence_number: greater than the one before.
        capture_time_ns: when it was due; the answer brings it back.
    """
    head = frame_pb2.Frame(
        sequence_number=sequence_number, capture_time_ns=capture_time_ns
    ).SerializeToString()
    return b"".join((_FRAME_TAG, _varint(len(head) + len(image)), head, image))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
