"""Options become the server that is measured."""

from __future__ import annotations

import pytest

from benchmark.__main__ import parser
from benchmark.commands import server_options as shared
from benchmark.host.cpu_time import family
from benchmark.loadgen.crew import crew
from benchmark.loadgen.open_loop import Load


@pytest.mark.parametrize("command", ["latency", "capacity", "overload"])
def test_a_server_has_one_worker_unless_more_are_asked_for(command):
    assert parser().parse_args([command]).workers == 1
    assert parser().parse_args([command, "--workers", "3"]).workers == 3


def test_several_workers_are_one_server(bundle_path, pictures):
    patient = ["--settings", "max_load=100,shed_after_s=3600"]
    chosen = ["latency", "--model", str(bundle_path), "--workers", "2", *patient]
    options = parser().parse_args(chosen)
    load = Load(vehicles=8, rate_hz=20, seconds=0.5, budget_ms=2000, pictures=pictures)
    with shared.server(options) as server, crew(1, options.client_cores) as generators:
        assert server.pid
        supervisor_and_workers = family(server.pid)
        tally = generators.run(server.address, load)
    assert len(supervisor_and_workers) == 3
    assert tally.opened == 8
    assert tally.frames == 80
    assert tally.commands == 80 - tally.skipped.total() > 0
