"""The vehicle client of steerstream."""
