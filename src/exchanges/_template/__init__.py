"""A starting point for another exchange: copy the package, give it the exchange's name, and fill in its methods."""
