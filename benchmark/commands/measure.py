"""One load against one server, with what else took the machine's time."""

from __future__ import annotations

from typing import Any

from benchmark import progress
from benchmark.errors import BenchmarkError
from benchmark.host.machine import Moment
from benchmark.loadgen.crew import Crew
from benchmark.loadgen.open_loop import Load
from benchmark.loadgen.tally import Tally
from reports import text
from steerstream.testing.server_process import Server


def measure(crew: Crew, server: Server, load: Load, what: str = "") -> tuple[Tally, dict[str, Any]]:
    """Run a load.

    Args:
        crew: who generates it.
        server: what answers it.
        load: what the vehicles do.
        what: of what it is a part, for the progress line.

    Returns:
        What the vehicles saw, and the same as figures for JSON with the load's own and the
        machine's.

    Raises:
        BenchmarkError: a load generator could not do its part, or no vehicle was admitted.
    """
    before = Moment.now(server.pid)
    with progress.step(f"{what}{load.vehicles} vehicles for {load.seconds:.3g} s", load.total_s):
        tally = crew.run(server.address, load)
    if not tally.opened:
        raise BenchmarkError(f"the server refused every vehicle: {text.counts(tally.refused)}")
    return tally, {
        "vehicles": load.vehicles,
        "rate_hz": load.rate_hz,
        "seconds": round(load.seconds, 3),
        "budget_ms": load.budget_ms,
        **tally.summary(),
        **Moment.now(server.pid).since(before, clients=tally.client_cpu),
    }
