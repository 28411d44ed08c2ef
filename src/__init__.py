"""The trading suite: one package for each domain; the modules beside them are the names that users call."""
