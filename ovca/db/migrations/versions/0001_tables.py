"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

Time = sa.DateTime(timezone=True)
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')  # SQLite counts up INTEGER keys only


def upgrade() -> None:
    op.create_table(
        'event',
        sa.Column('id', Id, autoincrement=True, nullable=False),
        sa.Column('update_id', sa.BigInteger(), nullable=True),
        sa.Column('at', Time, nullable=False),
        sa.Column('node', sa.String(length=255), nullable=True),
        sa.Column('actor', sa.String(length=255), nullable=False),
        sa.Column('epoch', sa.BigInteger(), nullable=True),
        sa.Column('kind', sa.String(length=64), nullable=False),
        sa.Column('from_state', sa.String(length=32), nullable=True),
        sa.Column('to_state', sa.String(length=32), nullable=True),
        sa.Column('detail', sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index(op.f('ix_event_update_id'), 'event', ['update_id'], unique=False)
    op.create_table(
        'image',
        sa.Column('version', sa.String(length=128), nullable=False),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('iso', sa.Text(), nullable=False),
        sa.Column('size', sa.BigInteger(), nullable=False),
        sa.Column('files_digest', sa.String(length=64), nullable=True),
        sa.Column('manifest', sa.JSON(), nullable=False),
        sa.Column('signed_by', sa.Text(), nullable=True),
        sa.Column('source', sa.Text(), nullable=True),
        sa.Column('published_at', Time, nullable=False),
        sa.PrimaryKeyConstraint('version'),
    )
    op.create_table(
        'lease',
        sa.Column('name', sa.String(length=64), nullable=False),
        sa.Column('holder', sa.String(length=255), nullable=True),
        sa.Column('incarnation', sa.String(length=64), nullable=True),
        sa.Column('epoch', sa.BigInteger(), nullable=False),
        sa.Column('acting', sa.Boolean(), nullable=False),
        sa.Column('fence_proof', sa.Text(), nullable=True),
        sa.Column('demoted_epoch', sa.BigInteger(), nullable=False),
        sa.Column('renewed_at', Time, nullable=True),
        sa.Column('ttl', sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint('name'),
    )
    op.create_table(
        'node',
        sa.Column('name', sa.String(length=255), nullable=False),
        sa.Column('kind', sa.String(length=32), nullable=False),
        sa.Column('bmc', sa.Text(), nullable=True),
        sa.Column('mac', sa.String(length=32), nullable=True),
        sa.Column('address', sa.Text(), nullable=True),
        sa.Column('boot_id', sa.String(length=64), nullable=True),
        sa.Column('incarnation', sa.String(length=64), nullable=True),
        sa.Column('running_version', sa.String(length=128), nullable=True),
        sa.Column('running_digest', sa.String(length=64), nullable=True),
        sa.Column('role', sa.String(length=16), nullable=True),
        sa.Column('epoch_seen', sa.BigInteger(), nullable=False),
        sa.Column('health', sa.String(length=16), nullable=False),
        sa.Column('health_detail', sa.JSON(), nullable=True),
        sa.Column('healthy_since', Time, nullable=True),
        sa.Column('unhealthy_since', Time, nullable=True),
        sa.Column('ready', sa.Boolean(), nullable=False),
        sa.Column('last_seen_at', Time, nullable=True),
        sa.Column('quarantined', sa.Boolean(), nullable=False),
        sa.Column('quarantine_reason', sa.Text(), nullable=True),
        sa.Column('power_orders', sa.Integer(), nullable=False),
        sa.Column('power_ordered_at', Time, nullable=True),
        sa.PrimaryKeyConstraint('name'),
    )
    op.create_table(
        'request',
        sa.Column('id', Id, autoincrement=True, nullable=False),
        sa.Column('kind', sa.String(length=32), nullable=False),
        sa.Column('args', sa.JSON(), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('taken_epoch', sa.BigInteger(), nullable=True),
        sa.Column('progress', sa.JSON(), nullable=True),
        sa.Column('result', sa.JSON(), nullable=True),
        sa.Column('error', sa.Text(), nullable=True),
        sa.Column('exit_code', sa.Integer(), nullable=True),
        sa.Column('cancel_requested', sa.Boolean(), nullable=False),
        sa.Column('finished_at', Time, nullable=True),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index(op.f('ix_request_state'), 'request', ['state'], unique=False)
    op.create_table(
        'update',
        sa.Column('id', Id, autoincrement=True, nullable=False),
        sa.Column('state', sa.String(length=32), nullable=False),
        sa.Column('revision', sa.Integer(), nullable=False),
        sa.Column('version', sa.String(length=128), nullable=False),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('old_version', sa.String(length=128), nullable=True),
        sa.Column('old_digest', sa.String(length=64), nullable=True),
        sa.Column('first', sa.String(length=255), nullable=False),
        sa.Column('second', sa.String(length=255), nullable=False),
        sa.Column('retry_of', Id, nullable=True),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('created_by', sa.Text(), nullable=False),
        sa.Column('state_since', Time, nullable=False),
        sa.Column('deadline_from', Time, nullable=False),
        sa.Column('proven_at', Time, nullable=True),
        sa.Column('abort_requested_at', Time, nullable=True),
        sa.Column('abort_reason', sa.Text(), nullable=True),
        sa.Column('handovers', sa.Integer(), nullable=False),
        sa.Column('reason', sa.Text(), nullable=True),
        sa.Column('finished_at', Time, nullable=True),
        sa.ForeignKeyConstraint(['retry_of'], ['update.id']),
        sa.PrimaryKeyConstraint('id'),
    )
    op.create_index('ix_update_finished_at', 'update', ['finished_at'], unique=False)
    op.create_index(
        'ix_update_open',
        'update',
        [sa.text('(1)')],
        unique=True,
        sqlite_where=sa.text('finished_at IS NULL'),
        postgresql_where=sa.text('finished_at IS NULL'),
    )
    op.create_table(
        'entry',
        sa.Column('update_id', Id, nullable=False),
        sa.Column('node', sa.String(length=255), nullable=False),
        sa.Column('version', sa.String(length=128), nullable=False),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('step', sa.String(length=64), nullable=False),
        sa.Column('percent', sa.Double(), nullable=True),
        sa.Column('step_detail', sa.Text(), nullable=True),
        sa.Column('step_at', Time, nullable=False),
        sa.Column('power_orders', sa.Integer(), nullable=False),
        sa.Column('power_ordered_at', Time, nullable=True),
        sa.Column('final_at', Time, nullable=True),
        sa.Column('final_attempt', sa.Integer(), nullable=True),
        sa.Column('final_digest', sa.String(length=64), nullable=True),
        sa.Column('final_boot_id', sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(['update_id'], ['update.id']),
        sa.PrimaryKeyConstraint('update_id', 'node'),
    )
    op.create_table(
        'install_grant',
        sa.Column('id', Id, autoincrement=True, nullable=False),
        sa.Column('update_id', Id, nullable=False),
        sa.Column('node', sa.String(length=255), nullable=False),
        sa.Column('attempt', sa.Integer(), nullable=False),
        sa.Column('epoch', sa.BigInteger(), nullable=False),
        sa.Column('digest', sa.String(length=64), nullable=False),
        sa.Column('salt', sa.String(length=64), nullable=False),
        sa.Column('issued_at', Time, nullable=False),
        sa.Column('expires_at', Time, nullable=False),
        sa.Column('boot_token_hash', sa.String(length=64), nullable=True),
        sa.Column('consumed_at', Time, nullable=True),
        sa.Column('nonce_hash', sa.String(length=64), nullable=True),
        sa.Column('evidence_hash', sa.String(length=64), nullable=True),
        sa.Column('boot_id', sa.String(length=64), nullable=True),
        sa.Column('written_at', Time, nullable=True),
        sa.Column('failed', sa.Text(), nullable=True),
        sa.Column('revoked_at', Time, nullable=True),
        sa.ForeignKeyConstraint(['update_id'], ['update.id']),
        sa.PrimaryKeyConstraint('id'),
        sa.UniqueConstraint('update_id', 'node', 'attempt', 'epoch'),
    )
