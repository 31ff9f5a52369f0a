"""What operators decide about an update, who holds an operation of the appliance, and indexes for a long history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'directive',
        sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
        sa.Column('update_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
        sa.Column('kind', sa.String(length=32), nullable=False),
        sa.Column('subject', sa.String(length=255), nullable=False),
        sa.Column('detail', sa.Text(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('lifted_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('lifted_by', sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(['update_id'], ['update.id']),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index('ix_directive_update_id', 'directive', ['update_id'])
    op.create_table(
        'operation',
        sa.Column('name', sa.String(length=64), nullable=False),
        sa.Column('owner', sa.Text(), nullable=False),
        sa.Column('node', sa.String(length=255), nullable=False),
        sa.Column('boot_id', sa.String(length=64), nullable=False),
        sa.Column('pid', sa.Integer(), nullable=False),
        sa.Column('why', sa.Text(), nullable=False),
        sa.Column('taken_at', sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint('name'),
    )
    # For a long history: what a node was given and has proved, and the journal by time, kind and node.
    op.create_index('ix_install_grant_node_consumed_at', 'install_grant', ['node', 'consumed_at'])
    op.create_index('ix_entry_node_final_at', 'entry', ['node', 'final_at'])
    op.create_index('ix_event_at', 'event', ['at'])
    op.create_index('ix_event_kind', 'event', ['kind'])
    op.create_index('ix_event_node', 'event', ['node'])
