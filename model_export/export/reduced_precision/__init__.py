"""Smaller and faster bundles: made, judged against the bundle they come from, kept or refused."""
