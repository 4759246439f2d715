"""Frames that a network visited, with what the expert would have done there (DAgger)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from steerstream_simulation.camera import CameraConfig
from steerstream_simulation.closed_loop import RATE_HZ, CommandQueue
from steerstream_simulation.drivers import Policy
from steerstream_simulation.labelled_drives import LabelledFrame, check_seed
from steerstream_simulation.vehicle import Command
from steerstream_simulation.world import World


def drive_and_relabel(
    policy: Policy,
    seed: int,
    *,
    frames: int,
    rate_hz: float = RATE_HZ,
    camera: CameraConfig | None = None,
    latency_ms: float = 30.0,
    expert_share: float = 0.0,
    evaluation: bool = False,
) -> Iterator[LabelledFrame]:
    """Let a network drive and label every frame by the expert (arXiv 1011.0686).

    Args:
        policy: returns angle and speed for a picture; it keeps its own recurrent state.
        seed: of the road; 1000 or above for training.
        frames: how many.
        rate_hz: frames a second.
        camera: size and mounting.
        latency_ms: from picture to command.
        expert_share: share of frames, drawn at random, in which the expert's command acts.
        evaluation: whether a reserved seed is meant.

    Yields:
        Frames in their order; a new segment begins where the vehicle was put back.

    Raises:
        SeedReservedError: a seed below 1000 is asked for without `evaluation`.
    """
    check_seed(seed, evaluation=evaluation)
    world = World(seed, seconds=frames / rate_hz, camera=camera, expert_delay_s=latency_ms / 1e3)
    rng = np.random.default_rng([seed, 9])
    queue = CommandQueue()
    for number in range(frames):
        queue.advance(world, number / rate_hz)
        image = world.capture()
        label = world.expert_label(1.0 / rate_hz)
        offset = world.position.lateral_offset_m
        yield LabelledFrame(image, *label, offset, world.score.interventions)
        # The network sees every frame, also where its command does not act, for its state.
        own = Command(*policy(image))
        is_expert = rng.random() < expert_share
        chosen = Command(label.steering_wheel_angle_rad, label.speed_mps) if is_expert else own
        queue.put(number / rate_hz + latency_ms / 1e3, number, chosen)
