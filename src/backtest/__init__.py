"""The live trader driven over past candles, on the paper exchange's own venue, in one process."""
