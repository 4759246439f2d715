"""The Donkey simulator: JSON over TCP, whichever side listens."""
