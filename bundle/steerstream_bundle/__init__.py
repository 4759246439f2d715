"""Bundles: ONNX files whose metadata is a contract, and the code that reads and runs them.

The server, training and the benchmark share this package. It imports neither gRPC nor torch.
"""
