"""Processes that a benchmark starts, and what the machine did meanwhile."""
