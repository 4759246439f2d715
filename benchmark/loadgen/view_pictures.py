"""Pictures as vehicles send them that keep to the view which a server declares."""

from __future__ import annotations

import asyncio

import cv2
import numpy as np

import steerstream
from benchmark.loadgen.picture_set import PictureSet
from steerstream.images import Choices, Encoding, ViewUse, encode_frame
from steerstream.models import SessionInfo


def seen(address: str, pictures: PictureSet) -> PictureSet:
    """Return the view of each picture, cropped, scaled and encoded as the client does it.

    Args:
        address: the server that declares the view, HOST:PORT.
        pictures: what the camera sees.

    Raises:
        SteerstreamError: there is no server, or it refuses the session.
    """
    return asyncio.run(_seen(address, pictures))


async def _seen(address: str, pictures: PictureSet) -> PictureSet:
    async with (
        steerstream.connect(address) as client,
        client.open_session(vehicle_id="view") as session,
    ):
        frames = [await _frame(pictures, each, session.info) for each in pictures.pictures]
    return PictureSet(pictures=tuple(frames), are_frames=True)


async def _frame(pictures: PictureSet, data: bytes, info: SessionInfo) -> bytes:
    flat = np.frombuffer(data, np.uint8)
    if pictures.is_jpeg:
        decoded = cv2.imdecode(flat, cv2.IMREAD_COLOR_RGB)
        assert decoded is not None, "the pictures are JPEG files"  # noqa: S101
        image = np.asarray(decoded, np.uint8)
    else:
        image = flat.reshape(pictures.height_px, pictures.width_px, 3)
    choices = Choices(encoding=Encoding.AUTO, jpeg_quality=None, view=ViewUse.PIXELS)
    frame = await encode_frame(image, choices, info.limits, info.view)
    return frame.SerializeToString()
