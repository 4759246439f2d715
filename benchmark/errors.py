"""What can go wrong in a benchmark that its user can put right."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A benchmark cannot go on; the message says why, in one line where it can."""
