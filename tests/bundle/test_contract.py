"""The contract is read strictly: what is wrong is named, what is right comes back as it went."""

from __future__ import annotations

import dataclasses
import json

import pytest

from steerstream_bundle.contract import (
    Contract,
    ContractError,
    Crop,
    FrameInput,
    GapRule,
    Horizon,
    HorizonOutput,
    Output,
    Provenance,
    Score,
    StateKind,
    StateTensor,
    TrainedCamera,
    TrainingSource,
    ValueTensor,
)

STEERING = Output(
    head="steering_wheel_angle",
    tensor="steering_wheel_angle",
    unit="rad",
    minimum=-8.0,
    maximum=8.0,
    training_mean=0.01,
    stddev_tensor="steering_wheel_angle_stddev",
)
SPEED = Output(
    head="speed", tensor="speed", unit="m/s", minimum=-5.0, maximum=60.0, training_mean=9.0
)
TORQUE = Output(
    head="steering_torque",
    tensor="torque",
    unit="Nm",
    minimum=-20.0,
    maximum=20.0,
    training_mean=0.0,
    stddev_tensor="torque_stddev",
)
CONTRACT = Contract(
    name="tiny",
    frame=FrameInput(tensor="frame", height_px=66, width_px=200, crop=Crop(top=0.4, bottom=0.9)),
    state=(
        StateTensor(input="h", output="h_next", shape=(3,), kind=StateKind.RECURRENT),
        StateTensor(
            input="ring",
            output="ring_next",
            shape=(2, 2),
            kind=StateKind.FEATURE_RING,
            initial=(1.0, 2.0, 3.0, 4.0),
        ),
    ),
    outputs=(STEERING,),
    rate_hz=20.0,
    gap=GapRule(reset_after_ms=500),
    warm_up_steps=3,
    limits_profile="passenger_car",
    interval_tensor="interval_s",
    act_in_tensor="act_in_s",
    max_act_in_s=0.25,
    default_act_in_s=0.05,
    camera=TrainedCamera(
        horizontal_fov_deg=18.0, aspect_ratio=4 / 3, mount_height_m=1.3, horizon_fraction=0.45
    ),
    provenance=Provenance(
        sources=(
            TrainingSource(
                name="road", frames=7, heads=("speed",), licence="Apache-2.0", rendered=True
            ),
        ),
        scores=(Score(source="road", head="speed", frames=7, rmse=0.5),),
        git_revision="abc",
        created="2026-11-23",
    ),
)


def test_json_round_trip() -> None:
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("name",), "", "needs a name"),
        (("name",), 3, "contract.name must be str"),
        (("name",), "x" * 1001, "contract.name must be at most 1000 printable characters"),
        (("name",), "two\nlines", "contract.name must be at most 1000 printable characters"),
        (("name",), "x" * 257, "name must be at most 256 characters, has 257"),
        (("version",), 2, "version 2"),
        (("rate_hz",), 1e-308, "rate_hz must be from 0.1 to 1000, is 1e-308"),
        (("rate_hz",), 1e308, "contract.rate_hz must be a number that a float32 can hold"),
        (("rate_hz",), 1001.0, "rate_hz must be from 0.1 to 1000, is 1001.0"),
        (("rate_hz",), 10**400, "contract.rate_hz must be finite"),
        (("warm_up_steps",), 10**7, "warm_up_steps must be from 0 to 1000000"),
        (("warm_up_steps",), 2**64, "contract.warm_up_steps must be at most 9007199254740992"),
        (("frame", "width_px"), 8193, "frame size must be from 1 to 8192 pixels a side"),
        (("gap", "reset_after_ms"), 2**32, "reset_after_ms must be from 1 to 86400000"),
        (("state", 0, "shape"), [4096, 4097], "must have at most 16777216 elements"),
        (("state", 0, "shape"), [1] * 9, "must have at most 8 dimensions, has 9"),
        (("state", 0, "shape"), [1] * 70, "must have at most 8 dimensions, has 70"),
        (("state", 0, "initial"), [1e39], "contract.state[0].initial[0] must be a number that a"),
        (("outputs", 0, "maximum"), -1e39, "contract.outputs[0].maximum must be a number that a"),
        (("provenance", "scores", 0, "frames"), -1, "source 'road' has -1 frames"),
        (("provenance", "sources", 0, "frames"), -1, "source 'road' has -1 frames"),
        (("rate_hz",), 0.0, "rate_hz"),
        (("rate_hz",), float("inf"), "finite"),
        (("rate_hz",), True, "contract.rate_hz must be float"),
        (("warm_up_steps",), -1, "warm_up_steps"),
        (("frame", "height_px"), 0, "frame size"),
        (("frame", "height_px"), 66.5, "contract.frame.height_px must be int"),
        (("frame", "crop", "top"), 0.95, "crop"),
        (("frame", "crop", "colour"), "RGB", "unknown fields: colour"),
        (("frame",), [], "contract.frame must be an object"),
        (("state",), {}, "contract.state must be a list"),
        (("state", 0, "kind"), "magic", "contract.state[0].kind must be one of"),
        (("state", 0, "shape"), [], "positive sizes"),
        (("state", 0, "initial"), [1.0, 2.0], "1 or 3 initial values"),
        (("state", 1, "input"), "h", "two inputs share a tensor"),
        (("state", 1, "input"), "frame", "two inputs share a tensor"),
        (("state", 1, "input"), "interval_s", "two inputs share a tensor"),
        (("interval_tensor",), "h", "two inputs share a tensor"),
        (("interval_tensor",), None, "contract.interval_tensor must be str"),
        (("act_in_tensor",), "interval_s", "two inputs share a tensor"),
        (("act_in_tensor",), "", "max_act_in_s and default_act_in_s need an act_in_tensor"),
        (("max_act_in_s",), 0.0, "max_act_in_s must be above 0 and at most 10, is 0.0"),
        (("max_act_in_s",), 10.1, "max_act_in_s must be above 0 and at most 10, is 10.1"),
        (("default_act_in_s",), 0.26, "default_act_in_s must be from 0 to max_act_in_s, 0.25"),
        (("default_act_in_s",), -0.1, "default_act_in_s must be from 0 to max_act_in_s, 0.25"),
        (("camera", "horizontal_fov_deg"), 0.0, "camera.horizontal_fov_deg must be from 1 to 179"),
        (("camera", "horizontal_fov_deg"), 180.0, "camera.horizontal_fov_deg must be from 1 to"),
        (("camera", "aspect_ratio"), 0.0, "camera.aspect_ratio must be from 0.1 to 10, is 0.0"),
        (("camera", "mount_height_m"), 11.0, "camera.mount_height_m must be from 0.1 to 10"),
        (("camera", "horizon_fraction"), 2.1, "camera.horizon_fraction must be from -1 to 2"),
        (("camera",), None, "contract.camera must be an object"),
        (("state", 1, "output"), "h_next", "two outputs share a tensor"),
        (("outputs", 0, "stddev_tensor"), "steering_wheel_angle", "two outputs share a tensor"),
        (("outputs", 0, "stddev_tensor"), "ring_next", "two outputs share a tensor"),
        (("outputs", 0, "tensor"), "", "an output names no tensor"),
        (("state", 0, "output"), "", "an output names no tensor"),
        (("state", 0, "input"), "", "an input names no tensor"),
        (("frame", "tensor"), "", "an input names no tensor"),
        (("outputs",), [], "outputs must hold"),
        (("outputs", 0, "unit"), "deg", "'deg'"),
        (("outputs", 0, "head"), "brake", "'brake'"),
        (("outputs", 0, "minimum"), 9.0, "minimum < maximum"),
        (("gap", "reset_after_ms"), 0, "reset_after_ms"),
        (("provenance", "scores", 0, "rmse"), "good", "contract.provenance.scores[0].rmse"),
    ],
)
def test_a_wrong_field_is_named(path: tuple[str | int, ...], value: object, message: str) -> None:
    data = json.loads(CONTRACT.to_json())
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ContractError) as caught:
        Contract.from_json(json.dumps(data))
    assert message in str(caught.value)


@pytest.mark.parametrize("path", ["state", "provenance.sources", "provenance.scores"])
def test_a_list_of_too_many_items_is_refused(path: str) -> None:
    data = json.loads(CONTRACT.to_json())
    place = data
    for key in path.split("."):
        place = place[key]
    place += [place[0]] * 65
    with pytest.raises(ContractError, match=r"at most 64 .*, are 6[67]"):
        Contract.from_json(json.dumps(data))


def test_a_source_with_too_many_heads_is_refused() -> None:
    data = json.loads(CONTRACT.to_json())
    data["provenance"]["sources"][0]["heads"] *= 65
    with pytest.raises(ContractError, match="at most 64 heads, are 65"):
        Contract.from_json(json.dumps(data))


def test_a_contract_too_large_for_a_message_is_refused() -> None:
    text = CONTRACT.to_json()
    size = len(text.encode())
    assert Contract.from_json(text + " " * (256 * 1024 - size)) == CONTRACT
    with pytest.raises(ContractError, match="must be at most 262144 bytes, has 262145"):
        Contract.from_json(text + " " * (256 * 1024 - size + 1))


@pytest.mark.parametrize("field", ['"name": "tiny"', '"height_px": 66', '"rmse": 0.5'])
def test_a_field_that_is_there_twice_is_refused(field: str) -> None:
    text = CONTRACT.to_json()
    assert field in text
    name = field.split('"')[1]
    with pytest.raises(ContractError, match=f"has the field '{name}' twice"):
        Contract.from_json(text.replace(field, f"{field}, {field}"))


@pytest.mark.parametrize("name", ["name", "frame", "outputs", "gap", "limits_profile"])
def test_a_missing_field_is_named(name: str) -> None:
    data = json.loads(CONTRACT.to_json())
    del data[name]
    with pytest.raises(ContractError, match=rf"contract\.{name} is missing"):
        Contract.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null"])
def test_text_that_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match=r"not JSON|must be an object"):
        Contract.from_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("[" * 100_000, "nested too deeply"), ('{"name": ' + "1" * 5000 + "}", "not JSON")],
)
def test_json_that_python_does_not_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        Contract.from_json(text)


def test_integers_are_read_as_floats_where_floats_belong() -> None:
    text = CONTRACT.to_json().replace('"rate_hz": 20.0', '"rate_hz": 20')
    assert Contract.from_json(text) == CONTRACT


def test_no_head_twice() -> None:
    with pytest.raises(ContractError, match="no head twice"):
        dataclasses.replace(CONTRACT, outputs=(STEERING, STEERING))


def test_fields_that_an_older_bundle_leaves_out_are_empty() -> None:
    data = json.loads(CONTRACT.to_json())
    del data["interval_tensor"], data["outputs"][0]["stddev_tensor"], data["camera"]
    del data["act_in_tensor"], data["max_act_in_s"], data["default_act_in_s"]
    older = Contract.from_json(json.dumps(data))
    assert older.time_inputs == ()
    assert not older.camera.is_known
    assert (older.interval_tensor, older.outputs[0].stddev_tensor) == ("", "")
    assert older.input_tensors == ("frame", "h", "ring")
    assert older.values == (ValueTensor("steering_wheel_angle", ()),)
    assert older.stddev_columns == {}


def test_standard_deviations_come_after_the_heads() -> None:
    contract = dataclasses.replace(CONTRACT, outputs=(STEERING, SPEED, TORQUE))
    heads = ("steering_wheel_angle", "speed", "torque")
    stddevs = ("steering_wheel_angle_stddev", "torque_stddev")
    assert contract.values == tuple(ValueTensor(name, ()) for name in (*heads, *stddevs))
    assert contract.stddev_columns == {"steering_wheel_angle": 3, "steering_torque": 4}
    assert contract.input_tensors == ("frame", "interval_s", "act_in_s", "h", "ring")


def test_times_come_in_the_order_of_the_inputs_with_what_they_are_by_default() -> None:
    assert CONTRACT.time_inputs == (
        ("interval_s", "interval_s", 0.05),
        ("act_in_s", "act_in_s", 0.05),
    )
    told = dataclasses.replace(CONTRACT, interval_tensor="", act_in_tensor="delay")
    assert told.time_inputs == (("act_in_s", "delay", 0.05),)


@pytest.mark.parametrize(
    ("stated_s", "told_s"), [(None, 0.05), (-0.1, 0.0), (0.0, 0.0), (0.2, 0.2), (0.3, 0.25)]
)
def test_a_network_is_told_no_delay_that_it_was_not_trained_for(stated_s, told_s) -> None:
    assert CONTRACT.act_in_s(stated_s) == told_s


def test_a_network_without_delay_is_told_none() -> None:
    other = dataclasses.replace(CONTRACT, act_in_tensor="", max_act_in_s=0.0, default_act_in_s=0.0)
    assert other.act_in_s(0.1) == 0.0


def test_a_camera_that_nobody_states_is_not_known() -> None:
    assert CONTRACT.camera.is_known
    assert not TrainedCamera().is_known
    with pytest.raises(ContractError, match=r"camera\.horizontal_fov_deg must be from 1 to 179"):
        TrainedCamera(mount_height_m=1.3)


def test_a_precision_is_one_that_bundles_come_in():
    assert Provenance().precision == "fp32"
    assert Contract.from_json(CONTRACT.to_json()).provenance.precision == "fp32"
    with pytest.raises(ContractError, match="precision 'bf8' is not one of"):
        Provenance(precision="bf8")


AHEAD = HorizonOutput(head="steering_wheel_angle", tensor="angles", stddev_tensor="angles_sd")
FASTER = HorizonOutput(head="speed", tensor="speeds")


def test_a_horizon_comes_after_everything_else_that_a_step_returns() -> None:
    horizon = Horizon(steps=2, spacing_ms=50, outputs=(AHEAD, FASTER))
    contract = dataclasses.replace(CONTRACT, outputs=(STEERING, SPEED), horizon=horizon)
    ahead = (ValueTensor("angles", (2,)), ValueTensor("speeds", (2,)), ValueTensor("angles_sd", ()))
    assert contract.values[-3:] == ahead
    assert [value.size for value in contract.values[-3:]] == [2, 2, 1]
    assert Contract.from_json(contract.to_json()) == contract
    assert CONTRACT.horizon.steps == 0


def test_a_horizon_with_a_tensor_for_each_step_is_of_an_older_exporter() -> None:
    data = json.loads(CONTRACT.to_json())
    older = {"head": "steering_wheel_angle", "tensors": ["a_1", "a_2"], "stddev_tensor": ""}
    data["horizon"] = {"spacing_ms": 50, "outputs": [older]}
    with pytest.raises(ContractError, match=r"unknown fields: tensors; export the bundle"):
        Contract.from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("steps", "spacing_ms", "outputs", "message"),
    [
        (2, 0, (AHEAD,), "spacing_ms must be from 1 to 1000, is 0"),
        (2, 1001, (AHEAD,), "is 1001"),
        (0, 50, (AHEAD,), "steps must be from 1 to 64, is 0"),
        (65, 50, (AHEAD,), "is 65"),
        (2, 0, (), "need horizon.outputs"),
        (0, 50, (), "need horizon.outputs"),
        (2, 50, (FASTER,), "must hold 'steering_wheel_angle'"),
        (2, 50, (AHEAD, AHEAD), "no head twice"),
        (2, 50, (AHEAD, dataclasses.replace(FASTER, head="steering_torque")), "only heads of the"),
        (2, 50, (AHEAD, dataclasses.replace(FASTER, tensor="angles")), "two outputs share"),
    ],
)
def test_a_horizon_that_makes_no_sense_is_refused(
    steps: int, spacing_ms: int, outputs: tuple[HorizonOutput, ...], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        dataclasses.replace(
            CONTRACT,
            outputs=(STEERING, SPEED),
            horizon=Horizon(steps=steps, spacing_ms=spacing_ms, outputs=outputs),
        )
