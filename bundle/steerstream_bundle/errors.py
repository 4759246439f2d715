"""Errors of bundles, execution providers, pictures and steps.

```text
BundleError             the file cannot be served: one line on stderr, exit code 2
└── ProviderError       its execution provider is not available on this machine
UndecodableError        one frame's picture is unusable; the session goes on
StepError               the network failed on one batch; the state is as it was
```

Every message says what to do and may go over the wire.
"""

from __future__ import annotations


class BundleError(Exception):
    """A model's file is missing, damaged, or not what its contract says."""


class ProviderError(BundleError):
    """The execution provider that was asked for is unknown, not installed, or finds no device."""


class UndecodableError(Exception):
    """A frame's picture is empty, damaged, too large, or not of its stated size."""


class StepError(Exception):
    """The network failed on a batch."""
