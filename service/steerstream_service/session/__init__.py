"""One vehicle's session: pure state machines without a socket, a clock or a thread."""
