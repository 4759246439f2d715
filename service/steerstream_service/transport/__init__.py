"""The gRPC side: streams, the wire format, and the timers that watch them."""
