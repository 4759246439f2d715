"""Training: one run from its configuration to a checkpoint, and a look inside the result."""
