"""Health checks, supervision of the processes, alert rules and notifications.

Public: ``health``, ``watchdog``, ``alert_manager``. Must not trade.
"""
