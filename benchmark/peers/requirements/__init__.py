"""Pinned packages, one list an environment."""
