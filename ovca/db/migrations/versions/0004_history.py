"""Indexes for a long history: what a node was given and has proved, and the journal by time, kind and node."""

from __future__ import annotations

from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index('ix_install_grant_node_consumed_at', 'install_grant', ['node', 'consumed_at'])
    op.create_index('ix_entry_node_final_at', 'entry', ['node', 'final_at'])
    op.create_index('ix_event_at', 'event', ['at'])
    op.create_index('ix_event_kind', 'event', ['kind'])
    op.create_index('ix_event_node', 'event', ['node'])
