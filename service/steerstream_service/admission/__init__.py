"""Admission: which sessions may open, by forecast load, and which are let go under overload."""
