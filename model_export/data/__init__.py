"""Training data: one reader for each source, and how their sequences become batches."""
