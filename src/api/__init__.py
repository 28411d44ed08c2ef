"""What programs and agents may ask, over REST, MCP and Prometheus; one table feeds them all."""
