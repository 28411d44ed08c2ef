"""Floor 5, processes: tools for agents; they may brake, and nothing else."""
