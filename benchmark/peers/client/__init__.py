"""The load generator: one process, the same loads for every peer, one thin link a transport."""
