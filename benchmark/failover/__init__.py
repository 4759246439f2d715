"""Vehicles whose servers are killed, and the model to which their histories are held."""
