from __future__ import annotations

import pytest

from benchmark.loadgen import triton_rpc
from benchmark.loadgen.transport import SessionEndedError


def test_a_request_to_triton_marks_where_its_sequence_starts_and_ends() -> None:
    first = triton_rpc.request(7, 0, b"frame")
    parameters = {each.key: each.value for each in first.parameters}
    assert parameters["sequence_id"].int64_param == 7
    assert parameters["sequence_start"].bool_param
    assert "sequence_end" not in parameters
    assert (list(first.inputs[0].shape), list(first.raw_input_contents)) == ([1, 5], [b"frame"])
    last = triton_rpc.request(7, 3, b"frame", end=True)
    assert {each.key for each in last.parameters} == {"sequence_id", "sequence_end"}


def test_a_request_to_triton_has_the_field_numbers_of_its_protocol() -> None:
    # Field 1 is model_name, 3 id, 4 parameters, 5 inputs, 7 raw_input_contents.
    message = triton_rpc.Request(model_name="m", id="1", raw_input_contents=[b"x"])
    assert message.SerializeToString() == b"\x0a\x01m\x1a\x011:\x01x"


def test_an_answer_of_triton_is_read_and_its_error_raised() -> None:
    response = triton_rpc.Response()
    response.infer_response.id = "5"
    response.infer_response.raw_output_contents.append(b"\x00\x00\x80?" * 3)
    found = triton_rpc.answer(response)
    assert (found.number, found.outputs) == (5, (1.0, 1.0, 1.0))
    with pytest.raises(SessionEndedError, match="no such sequence"):
        triton_rpc.answer(triton_rpc.Response(error_message="no such sequence"))
