"""MetaDrive's engine, set up so that a picture takes milliseconds in place of seconds.

Each setting here was measured: without them MetaDrive draws for a graphics card that is not there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import sys
import types
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steerstream.errors import MissingExtra
from steerstream_simulation.camera import CameraConfig

PHYSICS_STEP_S = 0.01
_CAMERA = "rgb_camera"
# More maps than anybody asks for: it is the range of seeds, and costs nothing.
_SEEDS = 1_000_000
_WAYMO_MESSAGES = "metadrive.utils.waymo_utils.protos.scenario_pb2"


def check_installed() -> None:
    """Find out whether MetaDrive is there.

    Raises:
        MissingExtra: it is not installed.
    """
    if importlib.util.find_spec("metadrive") is None:
        raise MissingExtra(
            "MetaDrive is not installed; install it into an environment of its own with:"
            " pip install --no-deps -r simulation/metadrive.txt"
        )


def make_environment(camera: CameraConfig, blocks: int) -> Any:  # noqa: ANN401 - it has no types
    """Return a `MetaDriveEnv` of roads without junctions, without traffic and without a window.

    A lane-keeping network is told no way, so its roads have one.

    Args:
        camera: size of the pictures.
        blocks: pieces of road in a map, straight or bent.
    """
    # MetaDrive's only need of an old protobuf are messages of Waymo's recordings. A drive over its
    # own maps reads none of them.
    sys.modules.setdefault(_WAYMO_MESSAGES, types.ModuleType(_WAYMO_MESSAGES))
    with (
        warnings.catch_warnings(),
        open(os.devnull, "w") as nowhere,  # noqa: PTH123 - a device
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        from metadrive.component.algorithm.blocks_prob_dist import PGBlockDistConfig  # noqa: PLC0415
        from metadrive.engine.core import our_pbr  # noqa: PLC0415
        from metadrive.envs.metadrive_env import MetaDriveEnv  # noqa: PLC0415
        from panda3d.core import loadPrcFileData  # noqa: PLC0415

    logging.getLogger().setLevel(logging.ERROR)
    for setting in ("load-display p3headlessgl", "multisamples 0", "notify-level error"):
        loadPrcFileData("", setting)

    build = our_pbr.OurPipeline.__init__

    def build_without_multisampling(pipeline: Any, **options: Any) -> None:  # noqa: ANN401
        build(pipeline, **{**options, "msaa_samples": 0})

    our_pbr.OurPipeline.__init__ = build_without_multisampling

    class Blocks(PGBlockDistConfig):  # type: ignore[misc]
        BLOCK_TYPE_DISTRIBUTION_V2 = {  # noqa: RUF012 - MetaDrive reads it so
            **dict.fromkeys(PGBlockDistConfig.BLOCK_TYPE_DISTRIBUTION_V2, 0.0),
            "Curve": 0.75,
            "Straight": 0.25,
        }

    no_lasers = {"num_lasers": 0, "distance": 0, "num_others": 0}
    options = {
        "image_observation": True,
        "multi_thread_render": False,
        "global_light": False,
        "show_skybox": False,
        "show_interface": False,
        "show_logo": False,
        "show_fps": False,
        "rgb_clip": False,
        "start_seed": 0,
        "environment_num": _SEEDS,
        "map": blocks,
        "block_dist_config": Blocks,
        "random_spawn_lane_index": False,
        "traffic_density": 0.0,
        "physics_world_step_size": PHYSICS_STEP_S,
        "vehicle_config": {
            "image_source": _CAMERA,
            _CAMERA: (camera.width_px, camera.height_px),
            "stack_size": 1,
            "show_navi_mark": False,
            "lidar": no_lasers,
        },
    }
    return MetaDriveEnv(options)


def mount(environment: Any, camera: CameraConfig) -> None:  # noqa: ANN401 - it has no types
    """Give the camera its lens and its place, after a reset, and take costly light away.

    Args:
        environment: the environment; a map is loaded.
        camera: lens and mounting; the ground is flat, so the horizon's row says the pitch.
    """
    from panda3d.core import TexturePool  # noqa: PLC0415

    for texture in TexturePool.findAllTextures():
        texture.setAnisotropicDegree(1)
    environment.engine.world_light.direction_np.node().setShadowCaster(False)
    vehicle = environment.vehicle
    sensor = vehicle.image_sensors[_CAMERA]
    vertical = 2.0 * math.atan(0.5 * camera.height_px / camera.focal_px)
    sensor.get_lens().setFov(math.degrees(camera.field_of_view_rad), math.degrees(vertical))
    rows_up = (0.5 - camera.horizon) * camera.height_px
    place = sensor.get_cam()
    place.setPos(0.0, camera.forward_m, camera.mount_height_m - vehicle.origin.getZ())
    place.setHpr(0.0, -math.degrees(math.atan(rows_up / camera.focal_px)), 0.0)


def picture(environment: Any) -> NDArray[np.uint8]:  # noqa: ANN401 - it has no types
    """Draw what the camera sees now, uint8 RGB `[height, width, 3]`."""
    vehicle = environment.vehicle
    sensor = vehicle.image_sensors[_CAMERA]
    sensor.track(vehicle)
    environment.engine.graphicsEngine.renderFrame()
    drawn = sensor.buffer.getDisplayRegion(1).getScreenshot()
    bgra = np.frombuffer(drawn.getRamImage().getData(), np.uint8)
    bgra = bgra.reshape(drawn.getYSize(), drawn.getXSize(), 4)
    return np.ascontiguousarray(bgra[::-1, :, 2::-1])
