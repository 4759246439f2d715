"""Recordings: pictures of a drive with their capture times, and labels where it has some."""
