"""What a graph is fed beside frames and state."""

import numpy as np

from steerstream_bundle.times import feed_times
from tests.service import bundles


def test_times_that_nobody_states_are_those_of_the_contract():
    fed = feed_times(bundles.acting_contract(), 2)
    assert list(fed) == ["interval_s", "act_in_s"]
    np.testing.assert_array_equal(fed["interval_s"], np.full(2, 0.05, np.float32))
    assert all(values.dtype == np.float32 for values in fed.values())


def test_a_network_is_fed_only_what_it_takes():
    delays_s = np.array([0.1], np.float32)
    assert feed_times(bundles.contract(), 1, act_in_s=delays_s) == {}
    assert feed_times(bundles.timed_contract(), 1, act_in_s=delays_s).keys() == {"interval_s"}
    assert feed_times(bundles.acting_contract(), 1, act_in_s=delays_s)["act_in_s"] is delays_s
