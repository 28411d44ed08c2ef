"""The circuit-breaker tools under the name that the user's document gives them."""
