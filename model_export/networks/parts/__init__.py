"""Parts that several networks are built from."""
