"""Models come, go, share vehicles and are compared while a real server drives."""

from __future__ import annotations

import asyncio
import hashlib
import shutil

import grpc
import numpy as np
import pytest

from steerstream.v1 import models_service_pb2 as wire
from steerstream.v1.models_service_pb2_grpc import ModelsServiceStub
from steerstream_bundle import providers, quickest
from steerstream_service.process import model_keeper
from steerstream_service.process.model_keeper import Source
from tests.service import bundles
from tests.service.vehicle import Vehicle, pictures, running

PICTURES = pictures(12, seed=3)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    bundles.recurrent(folder / "tiny.onnx")
    bundles.stateless(folder / "other.onnx", name="other")
    (folder / "broken.onnx").write_bytes(b"no network")
    return folder


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def source(folder, precision=quickest.AUTO):
    return Source(folder, (providers.CPU,), precision)


@pytest.fixture(params=["thread", "loop"])
async def server(files, request, monkeypatch):
    monkeypatch.setattr(model_keeper, "_LOOK_S", 0.01)
    start = files / "tiny.onnx"
    async with running(start, source=source(files), steps_on=request.param) as run:
        yield run


class Operator:
    """Calls the service, and keeps what it answered last."""

    def __init__(self, run, files):
        self._stub = ModelsServiceStub(run.channel())
        self._files = files

    async def __call__(self, method, **fields):
        request = getattr(wire, f"{method}Request")(**fields)
        return (await getattr(self._stub, method)(request)).serving

    async def load(self, file, name=""):
        return await self("LoadModel", file=file, sha256=[digest(self._files / file)], name=name)

    async def refused(self, method, **fields):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await self(method, **fields)
        return error.value.code(), error.value.details()

    async def until(self, condition):
        async with asyncio.timeout(60):
            while not condition(serving := await self("DescribeServing")):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.005)
        return serving


@pytest.fixture
def operator(server, files):
    return Operator(server, files)


def names(serving):
    return [model.name for model in serving.models]


async def test_a_loaded_model_drives_who_asks_for_it_and_disturbs_nobody(server, operator):
    before = await server.vehicle(vehicle_id="before")
    first = await before.replay(PICTURES[:6])
    serving = await operator.load("other.onnx")
    assert names(serving) == ["tiny", "other"]
    assert serving.default_model == "tiny"
    other = await server.vehicle(vehicle_id="new", model="other")
    assert other.opened.model.name == "other"
    assert (await other.drive(PICTURES[0])).step_count == 1
    outputs = np.vstack([first, await before.replay(PICTURES[6:])])
    np.testing.assert_allclose(outputs, bundles.expected(PICTURES), atol=1e-5)


async def test_one_file_can_be_served_under_another_name(server, operator):
    serving = await operator.load("tiny.onnx", name="tiny-2")
    assert names(serving) == ["tiny", "tiny-2"]
    vehicle = await server.vehicle(model="tiny-2")
    assert vehicle.opened.model.name == "tiny-2"
    outputs = await vehicle.replay(PICTURES)
    np.testing.assert_allclose(outputs, bundles.expected(PICTURES), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"file": "tiny.onnx"}, "FAILED_PRECONDITION", "under another name"),
        ({"file": "other.onnx", "sha256": ["00"]}, "INVALID_ARGUMENT", "state it with --sha256"),
        ({"file": "missing.onnx"}, "INVALID_ARGUMENT", "missing.onnx"),
        ({"file": "broken.onnx"}, "INVALID_ARGUMENT", "broken.onnx"),
        ({"file": "../tiny.onnx"}, "INVALID_ARGUMENT", "no path"),
        ({"file": ""}, "INVALID_ARGUMENT", "no path"),
        ({"file": "tiny.onnx\0"}, "INVALID_ARGUMENT", "no path"),
        ({"file": "t" * 300}, "INVALID_ARGUMENT", "tttt"),
        ({"file": "other.onnx", "name": "n" * 257}, "INVALID_ARGUMENT", "at most 256"),
    ],
)
async def test_what_cannot_be_loaded_is_refused_and_changes_nothing(
    operator, files, fields, code, words
):
    known = [digest(path) for path in files.iterdir() if path.name == fields["file"]]
    found, details = await operator.refused("LoadModel", **{"sha256": known, **fields})
    assert (found.name, words in details) == (code, True), details
    assert names(await operator("DescribeServing")) == ["tiny"]


async def test_a_server_without_a_folder_loads_nothing(files):
    async with running(files / "tiny.onnx") as run:
        code, details = await Operator(run, files).refused("LoadModel", file="other.onnx")
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "--load-from" in details


async def test_an_8_bit_sibling_runs_only_if_its_digest_is_stated(files, tmp_path):
    whole = tmp_path / "tiny.onnx"
    shutil.copy(files / "tiny.onnx", whole)
    sibling = bundles.reduced(whole)
    async with running(files / "tiny.onnx", source=source(tmp_path, quickest.INT8)) as run:
        operator = Operator(run, tmp_path)
        await operator.load("tiny.onnx", "whole")
        digests = [digest(whole), digest(sibling)]
        await operator("LoadModel", file="tiny.onnx", sha256=digests, name="reduced")
        models = run.server.admission.models
        assert models["whole"].bundle.precision == "f32"
        assert models["reduced"].bundle.precision == "int8"


async def test_an_unloaded_model_finishes_its_sessions_and_goes(server, operator, files):
    await operator.load("other.onnx")
    vehicle = await server.vehicle(model="other")
    await vehicle.drive(PICTURES[0])
    serving = await operator("UnloadModel", name="other")
    assert [(model.name, model.unloading) for model in serving.models] == [
        ("tiny", False),
        ("other", True),
    ]
    newcomer = Vehicle(server.stub())
    await newcomer.send(open={"vehicle_id": "newcomer", "model": "other"})
    assert (await newcomer.failure())[1] == "ERROR_REASON_UNKNOWN_MODEL"
    known = [digest(files / "other.onnx")]
    code, _ = await operator.refused("LoadModel", file="other.onnx", sha256=known)
    assert code is grpc.StatusCode.FAILED_PRECONDITION, "the name is not free yet"
    assert (await vehicle.drive(PICTURES[1])).step_count == 2
    await vehicle.done()
    await operator.until(lambda serving: names(serving) == ["tiny"])
    assert [queue.name for queue in server.server._engine._queues] == ["tiny"]
    assert "other" in names(await operator.load("other.onnx"))


@pytest.mark.parametrize(
    ("method", "fields", "code"),
    [
        ("UnloadModel", {"name": "tiny"}, "FAILED_PRECONDITION"),
        ("UnloadModel", {"name": "none"}, "NOT_FOUND"),
        ("UnloadModel", {"name": ""}, "NOT_FOUND"),
        ("RouteVehicles", {"default_model": "none"}, "NOT_FOUND"),
        ("RouteVehicles", {"shares": [wire.ModelShare(share=0.5)]}, "NOT_FOUND"),
        (
            "RouteVehicles",
            {"shares": [wire.ModelShare(name="tiny", share=2.0)]},
            "FAILED_PRECONDITION",
        ),
        ("ShadowModel", {"name": "none", "share": 0.5}, "NOT_FOUND"),
        ("ShadowModel", {"name": "tiny", "share": -1.0}, "FAILED_PRECONDITION"),
    ],
)
async def test_wrong_changes_are_refused(operator, method, fields, code):
    found, _ = await operator.refused(method, **fields)
    assert found.name == code


async def test_vehicles_are_shared_out_and_the_default_changes(server, operator):
    await operator.load("other.onnx")
    shares = [wire.ModelShare(name="other", share=0.5)]
    serving = await operator("RouteVehicles", shares=shares)
    assert serving.shares[0].share == 0.5
    opened = [await server.vehicle(vehicle_id=f"car-{number}") for number in range(16)]
    assert {vehicle.opened.model.name for vehicle in opened} == {"tiny", "other"}
    serving = await operator("RouteVehicles", default_model="other")
    assert (serving.default_model, list(serving.shares)) == ("other", [])
    assert (await server.vehicle()).opened.model.name == "other"


async def test_a_ticket_goes_on_with_its_own_model_after_a_change_of_the_default(files):
    async with running(files / "tiny.onnx", source=source(files), ticket_every_frames=1) as run:
        operator = Operator(run, files)
        before = await run.vehicle(vehicle_id="car")
        # Tickets add at most a twentieth to the traffic, and these pictures are small.
        await before.replay(pictures(100, seed=4))
        ticket = before.notices[-1].ticket.ticket
        await operator.load("other.onnx")
        await operator("RouteVehicles", default_model="other")
        again = await run.vehicle(vehicle_id="car", ticket=ticket)
        assert (again.opened.model.name, again.opened.resumed) == ("tiny", True)
        newcomer = await run.vehicle(vehicle_id="another")
        assert newcomer.opened.model.name == "other"


@pytest.mark.parametrize(("file", "is_equal"), [("tiny.onnx", True), ("other.onnx", False)])
async def test_a_shadow_steps_the_same_frames_and_is_sent_to_nobody(
    server, operator, file, is_equal
):
    await operator.load(file, "shadow")
    serving = await operator("ShadowModel", name="shadow", share=1.0)
    assert (serving.shadow.name, serving.shadow.frames) == ("shadow", 0)
    vehicle = await server.vehicle()
    for count, picture in enumerate(PICTURES, start=1):
        await vehicle.drive(picture)
        serving = await operator.until(lambda serving, count=count: serving.shadow.frames == count)
    assert serving.shadow.frames_dropped == 0
    differences = {item.head: item for item in serving.shadow.differences}
    assert set(differences) == {"steering_wheel_angle", "speed", "steering_torque"}
    assert all((item.largest == 0.0) is is_equal for item in differences.values())
    assert all(item.rms <= item.largest for item in differences.values())
    code, said = await operator.refused("UnloadModel", name="shadow")
    assert "a shadow's share of 0" in said
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert not (await operator("ShadowModel")).HasField("shadow")
    await operator("UnloadModel", name="shadow")
    assert "shadow" in names(await operator("DescribeServing")), "a session's shadow holds it"
    await vehicle.done()
    await operator.until(lambda serving: names(serving) == ["tiny"])


async def test_frames_that_come_too_fast_for_a_shadow_are_counted(server, operator):
    await operator.load("tiny.onnx", "shadow")
    await operator("ShadowModel", name="shadow", share=1.0)
    vehicle = await server.vehicle()
    outputs = await vehicle.replay(PICTURES)
    np.testing.assert_allclose(outputs, bundles.expected(PICTURES), atol=1e-5)
    serving = await operator.until(
        lambda serving: serving.shadow.frames + serving.shadow.frames_dropped == len(PICTURES)
    )
    assert serving.shadow.frames > 0
