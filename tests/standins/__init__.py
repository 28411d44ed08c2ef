"""Loopback stand-ins for the outside services: they check what they are asked and fail as the real ones do."""
