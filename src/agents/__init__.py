"""Interfaces for language-model agents: circuit-breaker tools and the CrewAI crew.

Agents can trip the circuit breaker and ask for a reset; only a person resets it.
"""
