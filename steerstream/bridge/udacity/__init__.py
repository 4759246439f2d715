"""Udacity's simulator: a server for the WebSocket that it opens."""
