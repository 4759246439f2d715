"""ONNX Runtime's settings beside each other: what a frame costs with each, in turns on one core.

For the decision in docs/decisions/0006; run it in an environment with the flavour to look at:

```sh
python -m benchmark.commands.runtimes --model models/pilotnet_lstm.onnx
```
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from reports import text
from steerstream.command_line import Parser, count

_TURNS = 9
_FRAMES_A_TURN = 48
_CPU, _OPENVINO = "CPUExecutionProvider", "OpenVINOExecutionProvider"
_DTYPES: dict[str, npt.DTypeLike] = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
_LEVELS = onnxruntime.GraphOptimizationLevel

Feed = dict[str, npt.NDArray[Any]]
Variant = tuple[str, dict[str, str], Callable[[Any], None]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = Parser(prog="python -m benchmark.commands.runtimes", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="bundle to run")
    parser.add_argument("--batches", type=count, nargs="+", default=[1, 8], help="frames in a step")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    model = options.model.read_bytes()
    opened, open_ms = {}, {}
    for name, (provider, given, change) in _variants().items():
        began_s = time.perf_counter()
        opened[name] = _open(model, provider, given, change)
        open_ms[name] = 1e3 * (time.perf_counter() - began_s)
    figures = {batch: _measure(opened, batch) for batch in options.batches}
    columns = ["setting", "opens in", *(f"batch {batch}, us a frame" for batch in figures)]
    columns.append("differs by")
    rows = [
        [
            name,
            text.ms(open_ms[name]),
            *(text.number(times[name][0]) for times in figures.values()),
            f"{max(times[name][1] for times in figures.values()):.1e}",
        ]
        for name in opened
    ]
    print(text.table(columns, rows))


def _variants() -> dict[str, Variant]:
    """Return provider, its options, and a change of the session's, by name; the first is ours."""

    def level(value: object) -> Callable[[Any], None]:
        return lambda session: setattr(session, "graph_optimization_level", value)

    def entry(key: str, value: str) -> Callable[[Any], None]:
        return lambda session: session.add_session_config_entry(key, value)

    def switch(name: str) -> Callable[[Any], None]:
        return lambda session: setattr(session, name, False)

    def nothing(_: object) -> None:
        pass

    found: dict[str, Variant] = {
        "cpu": (_CPU, {}, nothing),
        "cpu, without NCHWc layout": (_CPU, {}, level(_LEVELS.ORT_ENABLE_EXTENDED)),
        "cpu, basic optimisation": (_CPU, {}, level(_LEVELS.ORT_ENABLE_BASIC)),
        "cpu, no optimisation": (_CPU, {}, level(_LEVELS.ORT_DISABLE_ALL)),
        "cpu, without arena": (_CPU, {}, switch("enable_cpu_mem_arena")),
        "cpu, without memory pattern": (_CPU, {}, switch("enable_mem_pattern")),
        "cpu, denormals as zero": (_CPU, {}, entry("session.set_denormal_as_zero", "1")),
        "cpu, dynamic blocks": (_CPU, {}, entry("session.dynamic_block_base", "4")),
    }
    if _OPENVINO in onnxruntime.get_available_providers():
        base = {"device_type": "CPU", "num_of_threads": "1"}
        f32, bf16 = ({"load_config": _hint(kind)} for kind in ("f32", "bf16"))
        found |= {
            "openvino, f32": (_OPENVINO, base | {"precision": "FP32"}, nothing),
            "openvino, threads of its choice": (_OPENVINO, {"device_type": "CPU"}, nothing),
            "openvino, hint f32": (_OPENVINO, base | f32, nothing),
            "openvino, hint bf16": (_OPENVINO, base | bf16, nothing),
        }
    return found


def _hint(precision: str) -> str:
    return f'{{"CPU": {{"INFERENCE_PRECISION_HINT": "{precision}"}}}}'


def _open(
    model: bytes, provider: str, given: dict[str, str], change: Callable[[Any], None]
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    change(options)
    return onnxruntime.InferenceSession(model, options, providers=[(provider, given)])


def _measure(
    sessions: Mapping[str, onnxruntime.InferenceSession], batch: int
) -> dict[str, tuple[float, float]]:
    """Return the median of the turns, us a frame, and the greatest difference to the first."""
    feed = _feed(next(iter(sessions.values())), batch)
    expected: list[npt.NDArray[Any]] = []
    differences = {}
    for name, session in sessions.items():
        outputs = session.run(None, feed)
        expected = expected or outputs
        differences[name] = max(
            float(np.abs(left - right).max()) for left, right in zip(outputs, expected, strict=True)
        )
    runs = max(1, _FRAMES_A_TURN // batch)
    turns = [
        {name: _turn_us(session, feed, runs) / batch for name, session in sessions.items()}
        for _ in range(_TURNS)
    ]
    return {
        name: (statistics.median(turn[name] for turn in turns), differences[name])
        for name in sessions
    }


def _turn_us(session: onnxruntime.InferenceSession, feed: Feed, runs: int) -> float:
    began_s = time.perf_counter()
    for _ in range(runs):
        session.run(None, feed)
    return 1e6 * (time.perf_counter() - began_s) / runs


def _feed(session: onnxruntime.InferenceSession, batch: int) -> Feed:
    generator = np.random.default_rng(0)
    feed = {}
    for node in session.get_inputs():
        shape, dtype = (batch, *node.shape[1:]), _DTYPES[node.type]
        largest = 255 if dtype is np.uint8 else 1
        feed[node.name] = generator.uniform(0, largest, shape).astype(dtype)
    return feed


if __name__ == "__main__":
    main()
