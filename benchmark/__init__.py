"""Latency of the service, measured as a vehicle sees it. Run it with `python -m benchmark`."""
