"""The comparison's own parts, and one peer run for real: the one that needs nothing installed."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from benchmark import peers
from benchmark.host import cpu_time
from benchmark.peers import cores, environments, judge, pictures, registry, tables, triton
from benchmark.peers.client import loads
from benchmark.peers.client import triton as triton_client
from benchmark.peers.client.links import EndedError
from benchmark.peers.errors import PeersError, StateDiffersError
from benchmark.peers.frameset import FrameSet, unpack
from benchmark.peers.hosts.network import Network
from benchmark.peers.hosts.torch_network import TorchNetwork
from benchmark.peers.peer import Launch

LISTS = (
    "client",
    "openpi",
    "ray",
    "steerstream-openvino",
    "threads-torch",
    "triton",
    "triton-openvino",
)
REFERENCE = [[[0.1, 10.0, 1.0], [0.2, 11.0, 1.1]], [[0.3, 12.0, 1.2], [0.4, 13.0, 1.3]]]


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    peers.add_arguments(parser)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


def test_outputs_that_equal_the_reference_pass() -> None:
    assert judge.check_state(REFERENCE, REFERENCE) == 0.0
    close = [[[value + 5e-5 for value in frame] for frame in each] for each in REFERENCE]
    assert judge.check_state(close, REFERENCE) == pytest.approx(5e-5)


def test_a_state_that_went_to_another_session_is_caught() -> None:
    swapped = [REFERENCE[1], REFERENCE[0]]
    with pytest.raises(StateDiffersError, match="session 0, frame 0"):
        judge.check_state(swapped, REFERENCE)


def test_a_state_that_was_lost_between_two_frames_is_caught() -> None:
    lost = [REFERENCE[0], [REFERENCE[1][0], REFERENCE[1][0]]]
    with pytest.raises(StateDiffersError, match="session 1, frame 1"):
        judge.check_state(lost, REFERENCE)


@pytest.mark.parametrize("answer", [None, [float("nan"), 0.0, 0.0]])
def test_no_output_and_nan_are_differences(answer: list[float] | None) -> None:
    with pytest.raises(StateDiffersError):
        judge.check_state([[answer]], [[[0.0, 0.0, 0.0]]])


def test_every_session_and_turn_sends_its_own_sequence() -> None:
    turns = [judge.sequences(8, 24, 64, turn=turn) for turn in range(2)]
    assert len({tuple(sequence) for turn in turns for sequence in turn}) == 16


@pytest.mark.parametrize("limit", [0, 1, 2, 9, 14, 19])
def test_bisection_finds_the_last_load_that_holds(limit: int) -> None:
    tried: list[int] = []

    def holds(number: int) -> bool:
        tried.append(number)
        return number <= limit

    assert judge.most(holds, low=10, high=20) == limit
    assert len(tried) <= 6


@pytest.mark.parametrize("name", LISTS)
def test_every_package_of_every_environment_is_pinned(name: str) -> None:
    lines = environments.requirements(name).splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert packages
    for line in packages:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", line), line


def test_every_peer_has_a_list_or_runs_here() -> None:
    asked_for = {peer.requirements for peer in registry.PEERS.values() if peer.requirements}
    assert asked_for | {"client"} == set(LISTS)


def test_frames_keep_their_bytes_and_size_through_a_file(tmp_path: Path) -> None:
    frames = FrameSet(width_px=2, height_px=1, frames=(b"abcdef", b"ghijkl"))
    frames.save(tmp_path / "frames.npz")
    again = FrameSet.load(tmp_path / "frames.npz")
    assert again == frames
    width, height, data = unpack(memoryview(again.packed()[1]))
    assert (width, height, bytes(data)) == (2, 1, b"ghijkl")


def test_rendered_frames_stand_in_for_a_drive(tmp_path: Path) -> None:
    frames = pictures.load(tmp_path)
    assert frames.source.startswith("rendered")
    assert frames.jpeg.is_jpeg
    assert 25_000 < sum(map(len, frames.jpeg.frames)) / pictures.COUNT < 80_000
    assert len(frames.rgb8.frames[0]) == 3 * 200 * 66


def test_a_request_to_triton_marks_where_its_sequence_starts_and_ends() -> None:
    first = triton_client.request(7, 0, b"frame")
    parameters = {each.key: each.value for each in first.parameters}
    assert parameters["sequence_id"].int64_param == 7
    assert parameters["sequence_start"].bool_param
    assert "sequence_end" not in parameters
    assert (list(first.inputs[0].shape), list(first.raw_input_contents)) == ([1, 5], [b"frame"])
    last = triton_client.request(7, 3, b"frame", end=True)
    assert {each.key for each in last.parameters} == {"sequence_id", "sequence_end"}


def test_a_request_to_triton_has_the_field_numbers_of_its_protocol() -> None:
    # Field 1 is model_name, 3 id, 4 parameters, 5 inputs, 7 raw_input_contents.
    message = triton_client.Request(model_name="m", id="1", raw_input_contents=[b"x"])
    assert message.SerializeToString() == b"\x0a\x01m\x1a\x011:\x01x"


def test_an_answer_of_triton_is_read_and_its_error_raised() -> None:
    response = triton_client.Response()
    response.infer_response.id = "5"
    response.infer_response.raw_output_contents.append(b"\x00\x00\x80?" * 3)
    found = triton_client.answer(response)
    assert (found.number, found.outputs) == (5, (1.0, 1.0, 1.0))
    with pytest.raises(EndedError, match="no such sequence"):
        triton_client.answer(triton_client.Response(error_message="no such sequence"))


def test_triton_gets_as_many_candidates_as_there_are_slots(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    wheel = packages / "pytriton" / "tritonserver"
    stub = wheel / "python_backend_stubs" / f"{os.sys.version_info[0]}.{os.sys.version_info[1]}"
    for folder in (wheel / "backends" / "python", stub):
        folder.mkdir(parents=True)
    (stub / "triton_python_backend_stub").write_text("stub")
    launch = Launch(
        python=tmp_path / "bin" / "python",
        model=Path("bundle.onnx"),
        port=1,
        slots=32,
        folder=tmp_path / "run",
        admits_all=True,
    )
    triton.TRITON.command(launch)
    config = (launch.folder / "models" / "driver" / "config.pbtxt").read_text()
    assert "max_candidate_sequences: 32" in config
    assert (launch.folder / "backends" / "python" / "triton_python_backend_stub").exists()


def test_refused_and_ended_sessions_count_as_offered() -> None:
    pace = loads.Pace(rate_hz=20.0, seconds=1.0, budget_ms=50.0, start=0.0)
    served = loads.Tally(due=20, in_time=19, latencies_s=[0.01] * 20)
    refused = loads.Tally(refused_after_s=0.002)
    found = loads.summary([served, refused], pace)
    assert (found["admitted"], found["offered_fps"], found["goodput_fps"]) == (1, 40.0, 19.0)
    assert found["admitted_in_time_percent"] == 95.0
    assert found["in_time_percent"] == 47.5
    assert found["refused_p99_ms"] == pytest.approx(2.0)


def test_work_of_other_processes_is_seen_and_ours_is_not() -> None:
    with cores.Watch() as watch:
        sum(range(2_000_000))
    assert watch.found.others_cores < len(os.sched_getaffinity(0)) + 0.5
    assert cpu_time.used_s({os.getpid()}) > 0
    assert cores.Disturbance(0.5).disturbed
    assert not cores.Disturbance(0.01).disturbed


def test_a_failed_peer_has_a_row_without_figures() -> None:
    text = tables.render({"peers": {"triton": {"failed": "wrong state: session 3"}}})
    assert "no figures: wrong state: session 3" in text


def test_names_that_do_not_exist_are_one_clear_error(bundle_path: Path) -> None:
    with pytest.raises(PeersError, match="there are: steerstream, "):
        peers.run(options("--model", str(bundle_path), "--peers", "tritn"))
    with pytest.raises(PeersError, match="there are: throughput"):
        peers.run(options("--model", str(bundle_path), "--phases", "speed"))


def test_the_network_in_torch_says_what_the_bundle_says(bundle_path: Path) -> None:
    bundle, eager = Network(bundle_path), TorchNetwork(bundle_path)
    states = [bundle.initial_state(), eager.initial_state()]
    for seed in range(3):
        shape = (1, *bundle.contract.frame.shape)
        frame = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
        expected, states[0] = bundle.step(frame, states[0])
        outputs, states[1] = eager.step(frame, states[1])
        np.testing.assert_allclose(outputs, expected, atol=1e-4)
        for ours, theirs in zip(states[1], states[0], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_thread_pool_is_measured_for_real(bundle_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "peers.json"
    held = {"openpi": {"start_s": 1.0}, "threads-ort": {"vanish": {}}}
    file.write_text(json.dumps({"results": {"peers": held}}))
    given = ("--peers", "threads-ort", "--phases", "throughput,overload", "--quick", "--merge")
    files = ("--json", str(file), "--data", str(tmp_path))
    found = peers.run(options("--model", str(bundle_path), *given, *files))
    assert found["failed"] == []
    assert found["peers"]["openpi"] == {"start_s": 1.0}
    figures = found["peers"]["threads-ort"]
    assert figures["vanish"] == {}
    assert figures["state_check"]["ok"]
    assert figures["state_check"]["largest_difference"] < judge.TOLERANCE
    assert set(figures["throughput"]["rgb8"]) == {"1", "8", "32"}
    one = figures["throughput"]["rgb8"]["1"]
    assert one["ratio"] == pytest.approx(one["fps"] / one["bare_fps"])
    assert figures["overload"]["4"]["sessions"] >= figures["overload"]["2"]["sessions"] >= 1
    assert "thread pool + ONNX Runtime" in peers.table(found)
