"""Read models for dashboard, API and reports: pages, aggregates, equity, states of the bots.

Public: ``service.ReportService``. Reads only.
"""
