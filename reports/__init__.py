"""Shared by all pages of figures: the machine that they come from, and their Markdown."""
