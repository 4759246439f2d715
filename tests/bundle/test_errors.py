"""What the callers of this package catch."""

from __future__ import annotations

import pytest

from steerstream_bundle import errors


def test_a_missing_provider_is_a_bundle_that_cannot_be_served():
    assert issubclass(errors.ProviderError, errors.BundleError)


@pytest.mark.parametrize("kind", [errors.UndecodableError, errors.StepError])
def test_a_fault_of_one_frame_or_step_is_no_bundle_error(kind):
    """The server ends for the one, and answers the other."""
    assert not issubclass(kind, errors.BundleError)
