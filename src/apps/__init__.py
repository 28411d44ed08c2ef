"""Composition: how each process of the suite is put together from the other packages."""
