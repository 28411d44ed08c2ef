"""Carries decisions out: orders, positions with their protective orders, risk limits, and the journal's port.

Public: every module. Must not know which exchange, database or process it serves: they are handed in.
"""
