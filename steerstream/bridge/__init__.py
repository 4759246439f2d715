"""`steerstream bridge`: drive in other people's simulators, each behind a client like any other."""
