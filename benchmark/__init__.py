"""Benchmarks of the server, each one command of `python -m benchmark`.

- `commands`: latency, capacity, efficiency, overload, stalls, fairness, soak, attacks, decoders,
  GPU, peers; and the pages of all results, docs/performance.md and docs/reliability.md.
- `loadgen`: the vehicles, in processes beside the server.
- `attacks`: hostile clients of our own server, and what others feel of them.
- `peers`: the same network behind other servers.
- `programs`: programs to compare the server with; two of them import a part of it.
- `host`: helper processes, and what the machine was doing.
"""

import steerstream_bundle  # noqa: F401 - its settings, before ONNX Runtime is imported
