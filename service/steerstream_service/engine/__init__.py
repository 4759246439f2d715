"""The engine: gathers frames into batches, steps the networks, keeps every session's state."""
