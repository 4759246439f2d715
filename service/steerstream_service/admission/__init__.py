"""Admission: who may open a session, what the server can carry, and who has to leave."""
