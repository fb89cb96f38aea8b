"""Alerts: thresholds, what they raise, silences; a computer's row counts its active alerts

Revision ID: 0006
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table('thresholds',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('metric', sa.String(length=32), nullable=False),
    sa.Column('argument', sa.String(length=1024), nullable=True),
    sa.Column('comparison', sa.String(length=32), nullable=False),
    sa.Column('warning_value', sa.Float(), nullable=True),
    sa.Column('critical_value', sa.Float(), nullable=True),
    sa.Column('recovery_value', sa.Float(), nullable=True),
    sa.Column('for_seconds', sa.Integer(), nullable=False),
    sa.Column('recovery_for_seconds', sa.Integer(), nullable=False),
    sa.Column('enabled', sa.Boolean(), nullable=False),
    sa.Column('scope', sa.String(length=32), nullable=False),
    sa.Column('scope_id', sa.String(length=64), nullable=True),
    sa.Column('tenant_id', sa.String(length=36), nullable=True),
    sa.Column('include_ephemeral', sa.Boolean(), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_thresholds_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_thresholds'))
    )
    op.create_index('ix_thresholds_scope', 'thresholds', ['scope', 'scope_id'], unique=False)
    op.create_index('ix_thresholds_tenant', 'thresholds', ['tenant_id'], unique=False)

    op.create_table('alerts',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('number', sa.BigInteger(), nullable=False),
    sa.Column('threshold_id', sa.String(length=36), nullable=False),
    sa.Column('threshold_name', sa.String(length=200), nullable=False),
    sa.Column('metric', sa.String(length=32), nullable=False),
    sa.Column('argument', sa.String(length=1024), nullable=True),
    sa.Column('comparison', sa.String(length=32), nullable=False),
    sa.Column('subject_kind', sa.String(length=32), nullable=False),
    sa.Column('subject_id', sa.String(length=64), nullable=False),
    sa.Column('subject_name', sa.String(length=300), nullable=False),
    sa.Column('computer_id', sa.Integer(), nullable=True),
    sa.Column('computer_uuid', sa.String(length=36), nullable=True),
    sa.Column('tenant_id', sa.String(length=36), nullable=True),
    sa.Column('severity', sa.String(length=32), nullable=False),
    sa.Column('status', sa.String(length=32), nullable=False),
    sa.Column('message', sa.String(length=500), nullable=False),
    sa.Column('value', sa.Float(), nullable=True),
    sa.Column('limit_value', sa.Float(), nullable=False),
    sa.Column('pending_since', sa.DateTime(timezone=True), nullable=False),
    sa.Column('fired_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('acknowledged_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('acknowledged_by', sa.String(length=200), nullable=True),
    sa.Column('note', sa.String(length=2000), nullable=True),
    sa.Column('resolved_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('resolved_by', sa.String(length=200), nullable=True),
    sa.Column('resolve_reason', sa.String(length=64), nullable=True),
    sa.Column('muted', sa.Boolean(), nullable=False),
    sa.Column('calm_since', sa.BigInteger(), nullable=True),
    sa.Column('shift_since', sa.BigInteger(), nullable=True),
    sa.Column('hold_s', sa.Integer(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('latched_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('live', sa.Boolean(), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['computer_id'], ['computers.id'], name=op.f('fk_alerts_computer_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_alerts')),
    sa.UniqueConstraint('number', name=op.f('uq_alerts_number'))
    )
    is_open = sa.text("status != 'resolved'")
    op.create_index('uq_alerts_open', 'alerts', ['threshold_id', 'subject_kind', 'subject_id'], unique=True,
                    sqlite_where=is_open, postgresql_where=is_open)
    op.create_index('ix_alerts_status', 'alerts', ['status', 'fired_at'], unique=False)
    op.create_index('ix_alerts_computer', 'alerts', ['computer_id', 'status'], unique=False)
    op.create_index('ix_alerts_subject', 'alerts', ['subject_kind', 'subject_id', 'live'], unique=False)
    op.create_index('ix_alerts_fired', 'alerts', ['fired_at'], unique=False)
    op.create_index('ix_alerts_due', 'alerts', ['due_at'], unique=False)
    op.create_index('ix_alerts_resolved', 'alerts', ['status', 'resolved_at'], unique=False)
    op.create_index('ix_alerts_version', 'alerts', ['version'], unique=False)
    op.create_index('ix_alerts_tenant', 'alerts', ['tenant_id', 'status'], unique=False)

    op.create_table('silences',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('repeat', sa.String(length=32), nullable=True),
    sa.Column('repeat_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('scope', sa.String(length=32), nullable=False),
    sa.Column('scope_id', sa.String(length=64), nullable=True),
    sa.Column('tenant_id', sa.String(length=36), nullable=True),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['tenant_id'], ['tenants.id'], name=op.f('fk_silences_tenant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_silences'))
    )
    op.create_index('ix_silences_due', 'silences', ['due_at'], unique=False)
    op.create_index('ix_silences_ends', 'silences', ['ends_at'], unique=False)

    op.create_table('alert_marks',
    sa.Column('name', sa.String(length=32), nullable=False),
    sa.Column('n', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_alert_marks'))
    )

    for name in ('alerts_open', 'alerts_warning', 'alerts_critical'):
        op.add_column('computers', sa.Column(name, sa.Integer(), nullable=False, server_default='0'))


def downgrade() -> None:

    with op.batch_alter_table('computers', schema=None) as batch_op:
        for name in ('alerts_critical', 'alerts_warning', 'alerts_open'):
            batch_op.drop_column(name)

    op.drop_table('alert_marks')
    op.drop_table('silences')
    op.drop_table('alerts')
    op.drop_table('thresholds')
