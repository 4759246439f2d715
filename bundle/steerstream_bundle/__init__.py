"""Bundles: ONNX files whose metadata is a contract, and the code that reads and runs them.

The server, training and the benchmark share this package. It imports neither gRPC nor torch.
"""

import os

# ONNX Runtime reads this when it is imported. Without it, releases since 1.29 keep a database of
# events in the home directory.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
