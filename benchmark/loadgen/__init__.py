"""The load generator: what vehicles do, over any server's wire protocol, and what they saw.

It runs in separate processes, some of them in a peer's environment. There `numpy`, `grpcio` and
`protobuf` are installed and little else, so modules that need more (`synthetic_road`) are imported
by the benchmark's own process alone.
"""
