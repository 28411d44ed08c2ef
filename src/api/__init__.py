"""Floor 4, wings: what programs and agents may ask, over REST, MCP and Prometheus; one table feeds them all."""
