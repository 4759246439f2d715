"""Steps with the state on the host, on every provider that is installed."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from steerstream_bundle import loading, providers
from steerstream_bundle.errors import BundleError, StepError
from steerstream_service.engine.host_stepper import HostStepper
from tests.service import bundles
from tests.service.vehicle import pictures

BUCKETS = [1, 2, 4]
ON_HOST = [
    provider
    for provider in providers.PROVIDERS.values()
    if provider.ort_name in onnxruntime.get_available_providers() and not provider.missing()
]


OTHERS = [provider for provider in ON_HOST if provider is not providers.CPU]
TOLERANCE = 1e-4
"""As `python -m model_export verify` allows between a bundle and PyTorch."""


def stepper_of(path, **options):
    return HostStepper(loading.load(path, **options), sessions=4, buckets=BUCKETS)


@pytest.mark.parametrize("provider", ON_HOST, ids=lambda provider: provider.name)
def test_sessions_in_changing_company_have_their_own_times(tmp_path, provider):
    stepper = stepper_of(bundles.acting(tmp_path / "a.onnx"), provider=provider)
    stepper.warm_up(4)
    films = [pictures(8, seed) for seed in range(4)]
    slots = [stepper.pool.allocate() for _ in films]
    rng = np.random.default_rng(1)
    answers: list[list] = [[] for _ in films]
    times_s = rng.uniform(0.01, 0.3, (2, 4, 8)).astype(np.float32)
    while rows := [row for row in rng.permutation(4) if len(answers[row]) < 8][:3]:
        seen = [len(answers[row]) for row in rows]
        step = stepper.step(
            [films[row][at] for row, at in zip(rows, seen, strict=True)],
            [slots[row] for row in rows],
            [at == 0 for at in seen],
            times_s[:, rows, seen].tolist(),
        )
        for row, values in zip(rows, step.outputs, strict=True):
            answers[row].append(values)
    for film, intervals_s, act_in_s, found in zip(films, *times_s, answers, strict=True):
        expected = bundles.expected_timed(film, intervals_s, act_in_s)
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("provider", ON_HOST, ids=lambda provider: provider.name)
@pytest.mark.parametrize("size", [1, 3, 4])
def test_each_frame_has_the_steps_of_its_own_horizon(tmp_path, provider, size):
    stepper = stepper_of(bundles.horizon(tmp_path / "a.onnx"), provider=provider)
    stepper.warm_up(size)
    film, slots = pictures(size, 0), [stepper.pool.allocate() for _ in range(size)]
    rows = stepper.step(film, slots, [True] * size).outputs
    for picture, row in zip(film, rows, strict=True):
        (now,) = bundles.expected(picture[None])
        angles, speeds = now[0] + np.array([0.1, 0.2, 0.3]), np.repeat(now[1], 3)
        np.testing.assert_allclose(row, [*now, *angles, *speeds, 0.1 + now[1] / 10], atol=1e-4)


@pytest.mark.parametrize("provider", ON_HOST, ids=lambda provider: provider.name)
def test_without_times_a_step_has_those_of_the_contract(tmp_path, provider):
    stepper = stepper_of(bundles.acting(tmp_path / "a.onnx"), provider=provider)
    slot, film = stepper.pool.allocate(), pictures(4, 0)
    stepper.step(film[:1], [stepper.pool.allocate()], [True], [[0.3], [0.2]])
    rows = [stepper.step([film[at]], [slot], [at == 0]).outputs[0] for at in range(4)]
    np.testing.assert_allclose(rows, bundles.expected_timed(film, [0.05] * 4, 0.05), atol=1e-4)


@pytest.mark.parametrize("provider", ON_HOST, ids=lambda provider: provider.name)
def test_sessions_in_changing_company_answer_as_alone(tmp_path, provider):
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"), provider=provider)
    films = [pictures(8, seed) for seed in range(4)]
    slots = [stepper.pool.allocate() for _ in films]
    rng = np.random.default_rng(1)
    answers: list[list] = [[] for _ in films]
    while min(map(len, answers)) < 8:
        rows = [row for row in rng.permutation(4)[: rng.integers(1, 5)] if len(answers[row]) < 8]
        if not rows:
            continue
        step = stepper.step(
            [films[row][len(answers[row])] for row in rows],
            [slots[row] for row in rows],
            [not answers[row] for row in rows],
        )
        assert step.fit == [True] * len(rows)
        for row, values in zip(rows, step.outputs, strict=True):
            answers[row].append(values)
    for film, found in zip(films, answers, strict=True):
        np.testing.assert_allclose(found, bundles.expected(film), atol=1e-4)


@pytest.mark.parametrize("provider", OTHERS, ids=lambda provider: provider.name)
def test_the_shipped_bundle_answers_as_on_the_cpu(bundle_path, provider):
    here, there = stepper_of(bundle_path), stepper_of(bundle_path, provider=provider)
    rng, worst = np.random.default_rng(2), 0.0
    slots = [(here.pool.allocate(), there.pool.allocate()) for _ in range(4)]
    seen = [0] * 4
    for _ in range(300):
        rows = rng.permutation(4)[: rng.integers(1, 5)]
        frames = rng.integers(0, 256, (len(rows), 66, 200, 3), dtype=np.uint8)
        reset = [seen[row] == 0 for row in rows]
        left = here.step(frames, [slots[row][0] for row in rows], reset)
        right = there.step(frames, [slots[row][1] for row in rows], reset)
        worst = max(worst, np.abs(np.subtract(left.outputs, right.outputs)).max())
        for row in rows:
            seen[row] += 1
    assert worst <= TOLERANCE


def test_a_ring_begins_from_its_initial_values(tmp_path):
    stepper = stepper_of(bundles.ring(tmp_path / "a.onnx"))
    slot = stepper.pool.allocate()
    film = pictures(3, 0)
    for index, picture in enumerate(film):
        stepper.step([picture], [slot], [index == 0])
    colours = film.mean(axis=(1, 2)) / 255
    expected = np.concatenate([np.reshape(bundles.RING.initial, (4, 3))[3:], colours])
    ring = stepper.pool.gather([slot], [False])[0][0]
    np.testing.assert_allclose(ring, expected, atol=1e-6)


def test_shapes_that_take_time_are_compiled_at_warm_up(tmp_path):
    stepper = stepper_of(bundles.recurrent(tmp_path / "a.onnx"))
    for size in BUCKETS:
        stepper.warm_up(size)
    assert sorted(stepper._batches) == [1, 2, 4]
    compiles = dataclasses.replace(providers.CPU, compiles_shapes=True)
    stepper = stepper_of(tmp_path / "a.onnx", provider=compiles)
    for size in BUCKETS:
        stepper.warm_up(size)
    assert sorted(stepper._batches) == [1, 2, 3, 4]


def test_an_output_of_another_shape_is_found_at_warm_up(tmp_path):
    nodes = [
        *bundles.mean_colour(),
        *bundles.hidden(),
        *bundles.heads("h_next", angle="angle_of_one"),
        helper.make_node("Unsqueeze", ["angle_of_one", "one"], ["angle"]),
    ]
    names = ("angle", "speed", "torque")
    outputs = [bundles.value(name, TensorProto.FLOAT, ("N",)) for name in names]
    outputs[0].type.tensor_type.ClearField("shape")
    outputs.append(bundles.value("h_next", TensorProto.FLOAT, ("N", 3)))
    path = tmp_path / "a.onnx"
    bundles.write(path, bundles.contract(), nodes, outputs=outputs)
    with pytest.raises((BundleError, StepError), match="angle"):
        stepper_of(path).warm_up(2)
