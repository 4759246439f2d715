"""Programs that a benchmark runs as processes of their own, to compare the server with."""
