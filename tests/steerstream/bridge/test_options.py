from __future__ import annotations

from steerstream.bridge.options import add_session_options, session_arguments
from steerstream.command_line import Parser, default_vehicle_id


def test_options_say_where_and_by_which_network_a_simulator_is_driven():
    parser = Parser()
    add_session_options(parser)
    options = parser.parse_args(["--target", "a:1"])
    assert session_arguments(options) == {
        "vehicle_id": default_vehicle_id("bridge"),
        "model": None,
        "budget_ms": 50.0,
    }
    options = parser.parse_args(
        ["--target", "a:1", "--model", "m", "--vehicle-id", "v", "--budget-ms", "80"]
    )
    assert session_arguments(options) == {"vehicle_id": "v", "model": "m", "budget_ms": 80.0}
