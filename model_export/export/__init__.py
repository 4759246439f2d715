"""Export to ONNX, proof that the file says what PyTorch says, and reduced precision."""
