"""Errors of the benchmark that its user can put right.

```
BenchmarkError
├── JobError           a measurement failed in its process
└── StateDiffersError  a peer's outputs are not those of the bundle: it gets no figures
```
"""

from __future__ import annotations


class BenchmarkError(Exception):
    """A benchmark cannot go on; the message says why, in one line where it can."""


class JobError(BenchmarkError):
    """A measurement failed in its process."""


class StateDiffersError(BenchmarkError):
    """A peer's outputs are not those of the bundle."""
