"""What took the machine's time is told apart: measured processes, clients, others, the host."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmark.host.machine import Moment, split_cores

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"


def test_time_that_is_neither_ours_nor_the_clients_is_others():
    before = Moment(stolen_s=1.0, busy_s=10.0, cpu_s=4.0, at_s=100.0)
    after = Moment(stolen_s=1.5, busy_s=20.0, cpu_s=7.0, at_s=110.0)
    found = after.since(before, clients=0.25)
    assert found == {"stolen": 0.05, "server_cpu": 0.3, "others_cpu": 0.45}


def test_noise_of_the_counters_is_no_negative_time():
    before = Moment(stolen_s=0.0, busy_s=0.0, cpu_s=0.0, at_s=0.0)
    after = Moment(stolen_s=0.0, busy_s=0.9, cpu_s=1.0, at_s=1.0)
    assert after.since(before)["others_cpu"] == 0.0


def test_a_processs_work_is_counted_and_this_ones_is_not():
    command = [sys.executable, "-c", BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        before = Moment.now(process.pid)
        process.stdout.readline()
        used_s = Moment.now(process.pid).cpu_since(before)
        sum(range(2_000_000))
        assert Moment.now(process.pid).cpu_since(before) < used_s + 0.1
        process.stdin.close()
    assert 0.1 < used_s < 1.0


def test_every_core_is_the_servers_or_the_clients(monkeypatch):
    for cores, expected in [
        ({3}, ([3], [3])),
        ({0, 1}, ([0], [1])),
        ({0, 1, 2, 3}, ([0, 1, 2], [3])),
    ]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: cores)
        assert split_cores() == expected
