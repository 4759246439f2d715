"""Logs, metrics and traces. Nothing in the server depends on what they say."""
