"""What a bundle means: one ONNX file whose metadata is its contract, and how it is run.

The server, training and the benchmark share this package. It imports neither gRPC nor torch.
"""
