"""Alembic's environment: runs the migrations on the connection it is given."""

from alembic import context

from src.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, compare_type=True)
with context.begin_transaction():
    context.run_migrations()
