"""Deliveries, webhooks and notification channels

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')
BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:

    op.create_table('instance',
    sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('uuid', sa.String(length=36), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_instance'))
    )

    op.create_table('journal_cursors',
    sa.Column('name', sa.String(length=32), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_journal_cursors'))
    )

    op.create_table('receiver_states',
    sa.Column('carrier', sa.String(length=16), nullable=False),
    sa.Column('receiver_id', sa.String(length=36), nullable=False),
    sa.Column('failures_in_row', sa.Integer(), nullable=False),
    sa.Column('rest_until', TIME, nullable=True),
    sa.Column('last_at', TIME, nullable=True),
    sa.Column('last_ok', sa.Boolean(), nullable=True),
    sa.Column('last_error', sa.String(length=500), nullable=True),
    sa.PrimaryKeyConstraint('carrier', 'receiver_id', name=op.f('pk_receiver_states'))
    )

    op.create_table('deliveries',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('carrier', sa.String(length=16), nullable=False),
    sa.Column('receiver_id', sa.String(length=36), nullable=False),
    sa.Column('occasion', sa.String(length=120), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=True),
    sa.Column('event', sa.String(length=64), nullable=False),
    sa.Column('subject_id', sa.String(length=64), nullable=True),
    sa.Column('topic', sa.String(length=160), nullable=True),
    sa.Column('title', sa.String(length=300), nullable=False),
    sa.Column('payload', sa.Text(), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('created_at', TIME, nullable=False),
    sa.Column('due_at', TIME, nullable=True),
    sa.Column('give_up_at', TIME, nullable=False),
    sa.Column('owner', sa.String(length=36), nullable=True),
    sa.Column('finished_at', TIME, nullable=True),
    sa.Column('http_status', sa.Integer(), nullable=True),
    sa.Column('latency_ms', sa.Float(), nullable=True),
    sa.Column('error', sa.String(length=500), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_deliveries')),
    sa.UniqueConstraint('carrier', 'receiver_id', 'occasion', name=op.f('uq_deliveries_carrier_receiver_id_occasion'))
    )
    with op.batch_alter_table('deliveries', schema=None) as batch_op:
        batch_op.create_index('ix_deliveries_due', ['carrier', 'due_at'], unique=False)
        batch_op.create_index('ix_deliveries_receiver', ['carrier', 'receiver_id', 'created_at'], unique=False)
        batch_op.create_index('ix_deliveries_topic', ['carrier', 'receiver_id', 'topic', 'created_at'], unique=False)
        batch_op.create_index('ix_deliveries_subject', ['carrier', 'receiver_id', 'subject_id'], unique=False)

    op.create_table('delivery_attempts',
    sa.Column('id', BIG, nullable=False),
    sa.Column('delivery_id', sa.String(length=36), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('at', TIME, nullable=False),
    sa.Column('ok', sa.Boolean(), nullable=False),
    sa.Column('http_status', sa.Integer(), nullable=True),
    sa.Column('latency_ms', sa.Float(), nullable=True),
    sa.Column('error', sa.String(length=500), nullable=True),
    sa.Column('excerpt', sa.String(length=1000), nullable=True),
    sa.ForeignKeyConstraint(['delivery_id'], ['deliveries.id'], name=op.f('fk_delivery_attempts_delivery_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_delivery_attempts')),
    sa.UniqueConstraint('delivery_id', 'number', name=op.f('uq_delivery_attempts_delivery_id_number'))
    )

    op.create_table('webhooks',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('description', sa.String(length=1000), nullable=True),
    sa.Column('url', sa.Text(), nullable=False),
    sa.Column('shown_url', sa.String(length=2100), nullable=False),
    sa.Column('events', JSON, nullable=False),
    sa.Column('all_tenants', sa.Boolean(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('disabled_reason', sa.String(length=300), nullable=True),
    sa.Column('since_seq', sa.BigInteger(), nullable=False),
    sa.Column('secret', sa.Text(), nullable=False),
    sa.Column('previous_secret', sa.Text(), nullable=True),
    sa.Column('previous_until', TIME, nullable=True),
    sa.Column('created_at', TIME, nullable=False),
    sa.Column('created_by_name', sa.String(length=200), nullable=False),
    sa.Column('updated_at', TIME, nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhooks'))
    )

    op.create_table('channels',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('url', sa.Text(), nullable=False),
    sa.Column('shown', sa.String(length=300), nullable=False),
    sa.Column('service', sa.String(length=100), nullable=False),
    sa.Column('severities', JSON, nullable=False),
    sa.Column('all_tenants', sa.Boolean(), nullable=False),
    sa.Column('tag', sa.String(length=50), nullable=True),
    sa.Column('repeat_minutes', sa.Integer(), nullable=False),
    sa.Column('tell_recovery', sa.Boolean(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('since_seq', sa.BigInteger(), nullable=False),
    sa.Column('created_at', TIME, nullable=False),
    sa.Column('created_by_name', sa.String(length=200), nullable=False),
    sa.Column('updated_at', TIME, nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_channels'))
    )

    for table, owner in (('webhook_tenants', 'webhook'), ('channel_tenants', 'channel')):
        op.create_table(table,
        sa.Column(f'{owner}_id', sa.String(length=36), nullable=False),
        sa.Column('tenant_id', sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint([f'{owner}_id'], [f'{owner}s.id'], name=op.f(f'fk_{table}_{owner}_id'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f(f'fk_{table}_tenant_id'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint(f'{owner}_id', 'tenant_id', name=op.f(f'pk_{table}'))
        )


def downgrade() -> None:

    for table in ('channel_tenants', 'webhook_tenants', 'channels', 'webhooks', 'delivery_attempts', 'deliveries', 'receiver_states',
                  'journal_cursors', 'instance'):
        op.drop_table(table)
