"""How processes run: settings, logging, process lifecycle, HTTP fetch, cache, worker processes.

Public: every module. Must not know anything about trading; ``settings`` alone reads the environment.
"""
