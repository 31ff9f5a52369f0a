"""How alembic runs a migration here: on the connection it is given, inside that connection's transaction."""

from __future__ import annotations

from alembic import context

from ovca.db.models import Base, add_partial_indexes

add_partial_indexes()
context.configure(connection=context.config.attributes['connection'], target_metadata=Base.metadata)
context.run_migrations()
