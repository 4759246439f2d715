"""The load generator: vehicles in processes of their own, their pacing and their tallies."""
