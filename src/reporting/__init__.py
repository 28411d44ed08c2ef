"""What people and programs read from the database: pages, aggregates, equity, states of the bots.

Public: ``service.ReportService``. Reads only.
"""
