"""A network on an accelerator, without a server: its answers, what crosses the bus, times of steps.

`python -m benchmark gpu` runs it as a separate process, with the server's steppers; it prints one
object of JSON:

```sh
python -m benchmark.programs.device_steps --model models/pilotnet_lstm.onnx --provider cuda
```

`--provider cpu` rehearses it where there is no GPU: the same graph with its pool inside, on the
host.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.loadgen import synthetic_road
from steerstream.command_line import Parser, count
from steerstream_bundle import cudart, providers
from steerstream_bundle.contract import Contract, ValueTensor
from steerstream_bundle.errors import BundleError, StepError
from steerstream_bundle.loading import Bundle, load
from steerstream_bundle.preprocess import Picture
from steerstream_service.engine.accelerator import Accelerator, Cuda, Host
from steerstream_service.engine.device_stepper import DeviceStepper
from steerstream_service.engine.host_stepper import HostStepper

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
TOLERANCE = 1e-4
"""Greatest difference between a bundle's providers, as between it and PyTorch."""
_SESSIONS = 8
_IDLE_S = 0.1
_IDLE_STEPS = 20
_SEED = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and return the exit code."""
    parser = Parser(prog="python -m benchmark.programs.device_steps", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="bundle to run")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda", help="what runs it")
    parser.add_argument("--steps", type=count, default=500, help="steps of each measurement")
    options = parser.parse_args(arguments)
    try:
        provider = providers.choose(options.provider)
        there = load(options.model, provider=provider)
        found = measure(there, load(options.model), options.steps)
    except (BundleError, StepError) as error:
        print(f"device_steps: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found))
    return 0


def measure(there: Bundle, here: Bundle, steps: int) -> dict[str, Any]:
    """Return what `benchmark.commands.gpu` shows of one network.

    Args:
        there: the network on the accelerator.
        here: the same one on the CPU, with its state on the host.
        steps: steps of each measurement.

    Raises:
        ServiceError: the network fails.
    """
    height_px, width_px, _ = there.contract.frame.shape
    film = synthetic_road.road_pictures(64, width_px=width_px, height_px=height_px)
    modes = (True, False) if there.runtime.provider.pool_on_device else (False,)
    return {
        "device": _device(there),
        "comparison": _compare(_stepper(there, graphs=modes[0]), here, film, steps),
        "steps": [
            timing for graphs in modes for timing in _timings(there, film, steps, graphs=graphs)
        ],
    }


def _stepper(bundle: Bundle, *, graphs: bool) -> DeviceStepper:
    on_gpu = bundle.runtime.provider.pool_on_device
    accelerator: Accelerator = Cuda(cudart.load(), graphs=graphs) if on_gpu else Host()
    stepper = DeviceStepper(bundle, sessions=BUCKETS[-1], buckets=BUCKETS, accelerator=accelerator)
    for bucket in BUCKETS:
        for _ in range(3):
            stepper.warm_up(bucket)
    return stepper


def _compare(
    device: DeviceStepper, here: Bundle, film: Sequence[Picture], steps: int
) -> dict[str, Any]:
    """Drive sessions in changing company on both sides; each side carries its own state."""
    host = HostStepper(here, sessions=_SESSIONS, buckets=[_SESSIONS])
    ours = [device.pool.allocate() for _ in range(_SESSIONS)]
    theirs = [host.pool.allocate() for _ in range(_SESSIONS)]
    generator, seen = np.random.default_rng(_SEED), [0] * _SESSIONS
    worst = np.zeros(sum(value.size for value in here.contract.values))
    device.bus.forget()
    for _ in range(steps):
        rows = generator.permutation(_SESSIONS)[: generator.integers(1, _SESSIONS + 1)]
        pictures = [film[(seen[row] + 7 * row) % len(film)] for row in rows]
        reset = [seen[row] == 0 for row in rows]
        left = device.step(pictures, [ours[row] for row in rows], reset).outputs
        right = host.step(pictures, [theirs[row] for row in rows], reset).outputs
        worst = np.maximum(worst, np.abs(np.subtract(left, right)).max(axis=0))
        for row in rows:
            seen[row] += 1
    state = {name for pair in here.contract.state for name in (pair.input, pair.output)}
    crossed = device.bus.to_device + device.bus.to_host
    return {
        "steps": steps,
        "frames": sum(seen),
        "tolerance": TOLERANCE,
        "worst": {
            value.name: float(worst[end - value.size : end].max())
            for value, end in _columns(here.contract)
        },
        "agrees": bool((worst <= TOLERANCE).all()),
        "bytes_to_device": dict(device.bus.to_device),
        "bytes_to_host": dict(device.bus.to_host),
        "state_bytes": sum(count for name, count in crossed.items() if name in state),
    }


def _columns(contract: Contract) -> Iterator[tuple[ValueTensor, int]]:
    """Return each value tensor, and where it ends in a frame's values."""
    ends = itertools.accumulate(value.size for value in contract.values)
    return zip(contract.values, ends, strict=True)


def _timings(
    bundle: Bundle, film: Sequence[Picture], steps: int, *, graphs: bool
) -> list[dict[str, Any]]:
    stepper = _stepper(bundle, graphs=graphs)
    slots = [stepper.pool.allocate() for _ in range(BUCKETS[-1])]

    def one(bucket: int) -> Callable[[], object]:
        return lambda: stepper.step(film[:bucket], slots[:bucket], [False] * bucket)

    return [
        {"bucket": bucket, "graphs": graphs, **_timing(one(bucket), steps)} for bucket in BUCKETS
    ]


def _timing(step: Callable[[], object], steps: int) -> dict[str, float]:
    busy_ms = [_timed_ms(step) for _ in range(steps)]
    idle_ms = []
    for _ in range(min(_IDLE_STEPS, steps)):
        time.sleep(_IDLE_S)
        idle_ms.append(_timed_ms(step))
    return {
        "p50_ms": round(float(np.percentile(busy_ms, 50)), 4),
        "p99_ms": round(float(np.percentile(busy_ms, 99)), 4),
        "after_idle_p50_ms": round(float(np.percentile(idle_ms, 50)), 4),
    }


def _timed_ms(step: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - began_s)


def _device(bundle: Bundle) -> dict[str, Any]:
    provider = bundle.runtime.provider
    if not provider.pool_on_device:
        return {"provider": provider.name}
    driver, runtime = cudart.load().versions()
    return {
        "provider": provider.name,
        "gpu": _nvidia_smi(),
        "cuda_of_driver": driver,
        "cuda_of_runtime": runtime,
    }


def _nvidia_smi() -> str:
    """Return name, driver and memory of the GPU; empty where nvidia-smi is not installed."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    asked = "--query-gpu=name,driver_version,memory.total"
    command = [program, asked, "--format=csv,noheader", "--id=0"]
    return subprocess.run(  # noqa: S603 - a fixed command
        command, capture_output=True, text=True, check=False
    ).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
