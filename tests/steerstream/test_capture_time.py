from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steerstream.capture_time import CaptureDelay, CaptureLead

MS = 1_000_000


def test_a_frame_lags_by_its_delay_beyond_the_least():
    delay = CaptureDelay()
    assert [delay.lag_ns(at, at + late) for at, late in [(0, 30), (100, 20), (200, 70)]] == [
        0,
        0,
        50,
    ]


def test_a_wrong_least_is_forgotten_after_two_windows():
    delay = CaptureDelay()
    # The first frame claims to be taken a second after it was sent.
    lags_ms = [delay.lag_ns(at * MS + (1000 * MS if at == 0 else 0), at * MS) / MS
               for at in range(0, 6000, 50)]  # fmt: skip
    assert lags_ms[1] == 1000
    assert lags_ms[-1] == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100 * MS), st.integers(0, 500 * MS)), min_size=1))
def test_a_lag_is_never_more_than_the_true_delay(frames):
    delay, now_ns = CaptureDelay(), 1000 * MS
    for step_ns, late_ns in frames:
        now_ns += step_ns
        assert 0 <= delay.lag_ns(now_ns - late_ns, now_ns) <= late_ns


@pytest.mark.parametrize(("factor", "ahead_s"), [(1.0, 0.0), (3.0, 2.0), (0.5, -0.5)])
def test_a_lead_is_what_passes_more_than_the_clock(factor, ahead_s):
    lead = CaptureLead()
    lead.begin(5, 7)
    lead.begin(6, 9)
    ahead_ns = lead.ahead_ns(5 + round(factor * 1e9), 7 + 10**9)
    assert ahead_ns == pytest.approx(ahead_s * 1e9, abs=2e6)


def test_before_the_first_frame_there_is_no_lead():
    assert CaptureLead().ahead_ns(1 << 63, 0) == 0
