"""What pages of measured figures share: the machine that they come from, and their Markdown."""
