"""Running a bundle without a server, and scoring what it says."""
