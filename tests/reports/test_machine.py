from __future__ import annotations

import json

from reports import machine


def test_a_description_is_json_and_names_what_figures_depend_on():
    found = json.loads(json.dumps(machine.describe()))
    assert found["processor"]
    assert found["cores"] >= 1
    assert {"grpcio", "numpy", "protobuf"} <= set(found["packages"])


def test_a_digest_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert machine.digest(path).startswith("ba7816bf8f01cfea")


def test_a_result_says_how_it_was_made():
    described = machine.describe() | {"processor": "a processor", "revision": "abc+"}
    made = machine.made_by({"command": "python -m benchmark latency", "machine": described})
    for part in ("`python -m benchmark latency`", "a processor", "revision abc+"):
        assert part in made
