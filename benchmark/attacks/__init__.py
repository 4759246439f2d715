"""Bounded, harmless attacks on a server that the benchmark itself has started on loopback.

Each sends what a broken or hostile client could send, for a few seconds and at most so often. They
answer one question: what do a vehicle that behaves, and the server's health, feel of it?
"""
