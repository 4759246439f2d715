"""The live page: `steerstream watch` shows running servers and their vehicles in a browser."""
