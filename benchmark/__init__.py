"""Benchmarks of the server, each one command of `python -m benchmark`; none imports the server.

- `commands`: latency, capacity, efficiency, overload, fairness, soak, decoders, GPU, peers; and the
  page of all results, docs/performance.md.
- `loadgen`: the vehicles, in processes beside the server.
- `peers`: the same network behind other servers.
- `programs`: what the server is compared with, such as its work without a server.
- `host`: helper processes, and what the machine was doing.
"""

import steerstream_bundle  # noqa: F401 - its settings, before ONNX Runtime is imported
