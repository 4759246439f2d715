"""What the Makefile runs beyond the packages' own commands."""
