"""The keys of the trailing metadata with which an RPC ends; server and client import them."""

from __future__ import annotations

REASON_KEY = "steerstream-reason"
"""Holds the name of an `ErrorReason` of the wire contract."""

RETRY_AFTER_KEY = "steerstream-retry-after-ms"
"""May hold a hint when to try again, in milliseconds."""
