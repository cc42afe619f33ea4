"""What alembic runs: the migrations, on the connection and in the transaction that ``database.py`` opened."""

from __future__ import annotations

from alembic import context

from jetlane.remote.fleet.models import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
