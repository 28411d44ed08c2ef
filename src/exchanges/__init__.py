"""Adapters to exchanges, one package each, behind the ports of ``src.domain.ports``."""
