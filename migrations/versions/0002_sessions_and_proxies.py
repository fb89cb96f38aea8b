"""Sessions, events and proxies

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table('error_groups',
    sa.Column('tenant_id', sa.String(length=36), nullable=False),
    sa.Column('key', sa.String(length=32), nullable=False),
    sa.Column('message', sa.String(length=500), nullable=False),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.Column('first_at', sa.BigInteger(), nullable=False),
    sa.Column('last_at', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('tenant_id', 'key', name=op.f('pk_error_groups'))
    )
    with op.batch_alter_table('error_groups', schema=None) as batch_op:
        batch_op.create_index('ix_error_groups_last', ['last_at'], unique=False)

    op.create_table('event_counts',
    sa.Column('tenant_id', sa.String(length=36), nullable=False),
    sa.Column('event_type', sa.String(length=32), nullable=False),
    sa.Column('block', sa.BigInteger(), nullable=False),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('tenant_id', 'event_type', 'block', name=op.f('pk_event_counts'))
    )
    op.create_table('event_keys',
    sa.Column('tenant_id', sa.String(length=36), nullable=False),
    sa.Column('key', sa.String(length=200), nullable=False),
    sa.Column('event_id', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('tenant_id', 'key', name=op.f('pk_event_keys'))
    )
    with op.batch_alter_table('event_keys', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_event_keys_event_id'), ['event_id'], unique=False)

    op.create_table('events',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('tenant_id', sa.String(length=36), nullable=False),
    sa.Column('session_row', sa.BigInteger(), nullable=False),
    sa.Column('session_id', sa.String(length=200), nullable=False),
    sa.Column('event_type', sa.String(length=32), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('details', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_events'))
    )
    with op.batch_alter_table('events', schema=None) as batch_op:
        batch_op.create_index('ix_events_at', ['at'], unique=False)
        batch_op.create_index('ix_events_session', ['session_row', 'id'], unique=False)
        batch_op.create_index('ix_events_tenant', ['tenant_id', 'id'], unique=False)
        batch_op.create_index('ix_events_type', ['event_type', 'id'], unique=False)

    op.create_table('session_counts',
    sa.Column('tenant_id', sa.String(length=36), nullable=False),
    sa.Column('block', sa.BigInteger(), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.Column('timed', sa.BigInteger(), nullable=False),
    sa.Column('duration_us', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('tenant_id', 'block', 'status', name=op.f('pk_session_counts'))
    )
    op.create_table('session_hours',
    sa.Column('tenant_id', sa.String(length=36), nullable=False),
    sa.Column('hour', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=8), nullable=False),
    sa.Column('value', sa.String(length=255), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('tenant_id', 'hour', 'kind', 'value', 'status', name=op.f('pk_session_hours'))
    )
    op.create_table('proxies',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('uuid', sa.String(length=36), nullable=False),
    sa.Column('tenant_id', sa.String(length=36), nullable=False),
    sa.Column('fingerprint', sa.String(length=64), nullable=False),
    sa.Column('address', sa.String(length=500), nullable=False),
    sa.Column('sealed', sa.Text(), nullable=True),
    sa.Column('country', sa.String(length=50), nullable=True),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('disabled_by', sa.String(length=200), nullable=True),
    sa.Column('uses', sa.BigInteger(), nullable=False),
    sa.Column('successes', sa.BigInteger(), nullable=False),
    sa.Column('failures', sa.BigInteger(), nullable=False),
    sa.Column('latency_us', sa.BigInteger(), nullable=False),
    sa.Column('latency_count', sa.BigInteger(), nullable=False),
    sa.Column('failures_in_row', sa.Integer(), nullable=False),
    sa.Column('good_in_row', sa.Integer(), nullable=False),
    sa.Column('offences', sa.Integer(), nullable=False),
    sa.Column('cooldown_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('recent', sa.Text(), nullable=False),
    sa.Column('latencies', sa.Text(), nullable=False),
    sa.Column('last_used', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_error', sa.String(length=500), nullable=True),
    sa.Column('checked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('check_ok', sa.Boolean(), nullable=True),
    sa.Column('check_latency_ms', sa.Float(), nullable=True),
    sa.Column('check_error', sa.String(length=500), nullable=True),
    sa.Column('exit_address', sa.String(length=64), nullable=True),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_proxies_tenant_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_proxies')),
    sa.UniqueConstraint('tenant_id', 'fingerprint', name=op.f('uq_proxies_tenant_id_fingerprint')),
    sa.UniqueConstraint('uuid', name=op.f('uq_proxies_uuid'))
    )
    with op.batch_alter_table('proxies', schema=None) as batch_op:
        batch_op.create_index('ix_proxies_cooldown', ['cooldown_until'], unique=False)
        batch_op.create_index('ix_proxies_status', ['status'], unique=False)

    op.create_table('proxy_checks',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('proxy_id', sa.Integer(), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('target', sa.String(length=500), nullable=False),
    sa.Column('requested_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('requested_by', sa.String(length=200), nullable=False),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ok', sa.Boolean(), nullable=True),
    sa.Column('latency_ms', sa.Float(), nullable=True),
    sa.Column('http_status', sa.Integer(), nullable=True),
    sa.Column('exit_address', sa.String(length=64), nullable=True),
    sa.Column('error', sa.String(length=500), nullable=True),
    sa.ForeignKeyConstraint(['proxy_id'], ['proxies.id'], name=op.f('fk_proxy_checks_proxy_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_proxy_checks'))
    )
    with op.batch_alter_table('proxy_checks', schema=None) as batch_op:
        batch_op.create_index('ix_proxy_checks_due', ['status', 'lease_until'], unique=False)
        batch_op.create_index('ix_proxy_checks_proxy', ['proxy_id', 'requested_at'], unique=False)

    op.create_table('proxy_targets',
    sa.Column('proxy_id', sa.Integer(), nullable=False),
    sa.Column('host', sa.String(length=255), nullable=False),
    sa.Column('successes', sa.BigInteger(), nullable=False),
    sa.Column('failures', sa.BigInteger(), nullable=False),
    sa.Column('failures_in_row', sa.Integer(), nullable=False),
    sa.Column('recent', sa.Text(), nullable=False),
    sa.Column('last_error', sa.String(length=500), nullable=True),
    sa.Column('last_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['proxy_id'], ['proxies.id'], name=op.f('fk_proxy_targets_proxy_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('proxy_id', 'host', name=op.f('pk_proxy_targets'))
    )
    op.create_table('sessions',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('tenant_id', sa.String(length=36), nullable=False),
    sa.Column('session_id', sa.String(length=200), nullable=False),
    sa.Column('profile_id', sa.String(length=200), nullable=True),
    sa.Column('device', sa.String(length=100), nullable=True),
    sa.Column('target_url', sa.String(length=2000), nullable=True),
    sa.Column('target_host', sa.String(length=255), nullable=True),
    sa.Column('proxy', sa.String(length=500), nullable=True),
    sa.Column('proxy_id', sa.Integer(), nullable=True),
    sa.Column('country', sa.String(length=50), nullable=True),
    sa.Column('info', sa.Text(), nullable=True),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('started_at', sa.BigInteger(), nullable=False),
    sa.Column('ended_at', sa.BigInteger(), nullable=True),
    sa.Column('duration_us', sa.BigInteger(), nullable=True),
    sa.Column('success', sa.Boolean(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('error_key', sa.String(length=32), nullable=True),
    sa.Column('events', sa.Integer(), nullable=False),
    sa.Column('errors', sa.Integer(), nullable=False),
    sa.Column('last_event_at', sa.BigInteger(), nullable=True),
    sa.Column('ended_version', sa.BigInteger(), nullable=True),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['proxy_id'], ['proxies.id'], name=op.f('fk_sessions_proxy_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_sessions_tenant_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sessions')),
    sa.UniqueConstraint('session_id', 'tenant_id', name=op.f('uq_sessions_session_id_tenant_id'))
    )
    with op.batch_alter_table('sessions', schema=None) as batch_op:
        batch_op.create_index('ix_sessions_country', ['country', 'id'], unique=False)
        batch_op.create_index('ix_sessions_ended', ['ended_version'], unique=False)
        batch_op.create_index('ix_sessions_error', ['error_key', 'id'], unique=False)
        batch_op.create_index('ix_sessions_proxy', ['proxy_id', 'id'], unique=False)
        batch_op.create_index('ix_sessions_started', ['started_at'], unique=False)
        batch_op.create_index('ix_sessions_status', ['status', 'id'], unique=False)
        batch_op.create_index('ix_sessions_tenant', ['tenant_id', 'id'], unique=False)




def downgrade() -> None:

    with op.batch_alter_table('sessions', schema=None) as batch_op:
        batch_op.drop_index('ix_sessions_tenant')
        batch_op.drop_index('ix_sessions_status')
        batch_op.drop_index('ix_sessions_started')
        batch_op.drop_index('ix_sessions_proxy')
        batch_op.drop_index('ix_sessions_error')
        batch_op.drop_index('ix_sessions_ended')
        batch_op.drop_index('ix_sessions_country')

    op.drop_table('sessions')
    op.drop_table('proxy_targets')
    with op.batch_alter_table('proxy_checks', schema=None) as batch_op:
        batch_op.drop_index('ix_proxy_checks_proxy')
        batch_op.drop_index('ix_proxy_checks_due')

    op.drop_table('proxy_checks')
    with op.batch_alter_table('proxies', schema=None) as batch_op:
        batch_op.drop_index('ix_proxies_status')
        batch_op.drop_index('ix_proxies_cooldown')

    op.drop_table('proxies')
    op.drop_table('session_hours')
    op.drop_table('session_counts')
    with op.batch_alter_table('events', schema=None) as batch_op:
        batch_op.drop_index('ix_events_type')
        batch_op.drop_index('ix_events_tenant')
        batch_op.drop_index('ix_events_session')
        batch_op.drop_index('ix_events_at')

    op.drop_table('events')
    with op.batch_alter_table('event_keys', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_event_keys_event_id'))

    op.drop_table('event_keys')
    op.drop_table('event_counts')
    with op.batch_alter_table('error_groups', schema=None) as batch_op:
        batch_op.drop_index('ix_error_groups_last')

    op.drop_table('error_groups')

