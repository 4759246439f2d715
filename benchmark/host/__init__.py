"""The machine that a benchmark runs on: helper processes, cores, processor time, memory."""
