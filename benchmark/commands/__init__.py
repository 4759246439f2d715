"""One module for each benchmark command, and what the commands share."""
