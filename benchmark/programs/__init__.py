"""Programs that a benchmark runs as separate processes, to compare the server with."""
