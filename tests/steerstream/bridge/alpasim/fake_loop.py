"""Drives `steerstream bridge alpasim` by FakeLoop, in carla-driver-interface's environment.

Arguments: the server's address, the offset at the start. Prints the result as JSON.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import grpc
import numpy as np
from carla_driver_interface.protocol import EgodriverServiceStub, Empty
from carla_driver_interface.testing import FakeLoop

target, offset_m = sys.argv[1], float(sys.argv[2])
bridge = subprocess.Popen(
    [
        sys.executable, "-m", "steerstream", "bridge", "alpasim", "--target", target,
        "--listen", "127.0.0.1:0", "--runtime", "carla", "--budget-ms", "1000", "--delay-ms", "50",
    ],
    stdout=subprocess.PIPE, text=True,
)  # fmt: skip
try:
    assert bridge.stdout is not None
    address = bridge.stdout.readline().split()[-1]
    with grpc.insecure_channel(address) as channel:
        _, call = EgodriverServiceStub(channel).get_version.with_call(Empty())
    contract = dict(call.initial_metadata()).get("carla-driver-interface-contract")
    with FakeLoop(address, initial_speed_mps=10.0, initial_lateral_offset_m=offset_m) as loop:
        result = loop.run(100)
finally:
    bridge.send_signal(signal.SIGINT)
    bridge.wait(30)
offsets_m = result.lateral_offsets_m
print(
    json.dumps(
        {
            "steps": result.steps,
            "distance_m": float(result.ego.positions[-1, 0]),
            "largest_offset_m": float(np.abs(offsets_m).max()),
            "last_offset_m": float(offsets_m[-1]),
            "contract": contract,
        }
    )
)
