"""Cameras for tests: the networks' own, and others as vehicles describe them."""

from __future__ import annotations

from steerstream import Camera, TrainedCamera, lens
from tests.steerstream.views import FRAME

NETWORK = TrainedCamera(
    horizontal_fov_deg=18.0, aspect_ratio=4 / 3, mount_height_m=1.3, horizon_fraction=0.45
)
SAME = Camera(640, 480, horizontal_fov_deg=18.0, mount_height_m=1.3, horizon_fraction=0.45)
WIDE = Camera(640, 480, horizontal_fov_deg=60.0, mount_height_m=1.5, horizon_fraction=0.4)


def mapping_of(camera: Camera, network: TrainedCamera = NETWORK) -> lens.Mapping | None:
    """How a camera's pictures become the input of the networks that ship."""
    return lens.mapping(
        camera, network, FRAME.crop, width_px=FRAME.width_px, height_px=FRAME.height_px
    )


def mapping(camera: Camera = WIDE) -> lens.Mapping:
    """The same, of a camera that is not the network's."""
    found = mapping_of(camera)
    assert found is not None
    return found
