from __future__ import annotations

import os
import threading

from benchmark.host.memory import MemorySampler, resident_mb


def test_a_process_has_resident_memory():
    assert resident_mb(os.getpid()) > 1.0


def test_a_limit_that_is_exceeded_is_told_once():
    calls, twice = [], threading.Event()

    class Samples(list):
        def append(self, sample):
            super().append(sample)
            if len(self) == 2:
                twice.set()

    sampler = MemorySampler(
        os.getpid(), 0.001, limit_mb=0.5, exceeded=lambda: calls.append("exceeded")
    )
    sampler.samples = Samples()
    with sampler:
        assert twice.wait(30.0)
    assert calls == ["exceeded"]
    assert sampler.peak_mb == max(megabytes for _, megabytes in sampler.samples)


def test_no_process_has_no_memory():
    with MemorySampler(None, 0.001) as sampler:
        pass
    assert (sampler.samples, sampler.peak_mb) == ([], None)
