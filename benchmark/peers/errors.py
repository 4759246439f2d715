"""The errors of the comparison.

```text
PeersError
├── InstallError       an environment could not be made
├── StartError         a peer's server did not answer a frame
├── JobError           a measurement failed in its process
└── StateDiffersError  a peer's outputs are not those of the bundle: it gets no figures
```
"""

from __future__ import annotations

from benchmark.errors import BenchmarkError


class PeersError(BenchmarkError):
    """Any error of the comparison; the message says what to do."""


class InstallError(PeersError):
    """An environment could not be made."""


class StartError(PeersError):
    """A peer's server did not answer a frame in time."""


class JobError(PeersError):
    """A measurement failed in its process."""


class StateDiffersError(PeersError):
    """A peer's outputs are not those of the bundle: its state is wrong, it gets no figures."""
