"""Training data: one reader for each source, its prepared frames on disk, and batches of them."""
