"""Floor 4, wing: the live trader driven over past candles, on the paper exchange's own venue, in one process."""
