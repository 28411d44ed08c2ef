"""From observations to decisions: indicators, signals, rules, the Q-learning agent. Pure functions and values.

Public: every module. Must not touch network, disk (except ``q_checkpoint``), environment, time or global randomness.
"""
