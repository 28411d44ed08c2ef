"""Values and laws that every other package shares: candles, orders, positions, costs, risk, time.

Public: every module. Must not touch network, disk, environment or (except ``clock``) the time of day.
"""
