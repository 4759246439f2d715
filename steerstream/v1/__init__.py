"""Generated stubs of the wire contract in ``proto/steerstream/v1``; ``make proto`` writes them."""
