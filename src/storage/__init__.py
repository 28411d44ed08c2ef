"""The database: engine, tables, repositories, command queue, snapshots, retention, backup, migrations.

Public: ``database.TradingDatabase`` and the repositories. Must not decide anything about trading.
"""
