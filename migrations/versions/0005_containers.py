"""Containers

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), 'postgresql')


def upgrade() -> None:

    op.create_table('containers',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('uuid', sa.String(length=36), nullable=False),
    sa.Column('computer_id', sa.Integer(), nullable=False),
    sa.Column('engine_id', sa.String(length=64), nullable=False),
    sa.Column('name', sa.String(length=255), nullable=False),
    sa.Column('name_key', sa.String(length=255), nullable=False),
    sa.Column('image', sa.String(length=300), nullable=False),
    sa.Column('state', sa.String(length=32), nullable=False),
    sa.Column('status', sa.String(length=200), nullable=False),
    sa.Column('health', sa.String(length=16), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('exit_code', sa.Integer(), nullable=True),
    sa.Column('oom_killed', sa.Boolean(), nullable=False),
    sa.Column('project', sa.String(length=200), nullable=True),
    sa.Column('command', sa.String(length=300), nullable=False),
    sa.Column('ports', JSON, nullable=False),
    sa.Column('labels', JSON, nullable=False),
    sa.Column('cpu', sa.Float(), nullable=True),
    sa.Column('memory', sa.BigInteger(), nullable=True),
    sa.Column('memory_limit', sa.BigInteger(), nullable=True),
    sa.Column('first_seen', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('stopped_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['computer_id'], ['computers.id'], name=op.f('fk_containers_computer_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_containers')),
    sa.UniqueConstraint('computer_id', 'engine_id', name=op.f('uq_containers_computer_id_engine_id')),
    sa.UniqueConstraint('uuid', name=op.f('uq_containers_uuid')),
    sqlite_autoincrement=True
    )
    with op.batch_alter_table('containers', schema=None) as batch_op:
        batch_op.create_index('ix_containers_name', ['name_key', 'id'], unique=False)
        batch_op.create_index('ix_containers_state', ['state', 'stopped_at'], unique=False)

    op.create_table('container_engines',
    sa.Column('computer_id', sa.Integer(), nullable=False),
    sa.Column('state', sa.String(length=32), nullable=False),
    sa.Column('name', sa.String(length=40), nullable=True),
    sa.Column('engine_version', sa.String(length=40), nullable=True),
    sa.Column('message', sa.String(length=500), nullable=True),
    sa.Column('total', sa.Integer(), nullable=False),
    sa.Column('reported_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['computer_id'], ['computers.id'], name=op.f('fk_container_engines_computer_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('computer_id', name=op.f('pk_container_engines'))
    )

    op.create_table('container_log_readings',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('computer_id', sa.Integer(), nullable=False),
    sa.Column('engine_id', sa.String(length=64), nullable=False),
    sa.Column('tail', sa.Integer(), nullable=True),
    sa.Column('follow', sa.Boolean(), nullable=False),
    sa.Column('state', sa.String(length=32), nullable=False),
    sa.Column('outcome', sa.String(length=16), nullable=True),
    sa.Column('message', sa.String(length=500), nullable=True),
    sa.Column('stored_seq', sa.Integer(), nullable=False),
    sa.Column('taken_seq', sa.Integer(), nullable=False),
    sa.Column('wanted_until', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['computer_id'], ['computers.id'], name=op.f('fk_container_log_readings_computer_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_container_log_readings'))
    )
    with op.batch_alter_table('container_log_readings', schema=None) as batch_op:
        batch_op.create_index('ix_container_log_readings_state', ['state', 'computer_id'], unique=False)

    op.create_table('container_log_pieces',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('reading_id', sa.String(length=36), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('lines', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['reading_id'], ['container_log_readings.id'], name=op.f('fk_container_log_pieces_reading_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_container_log_pieces')),
    sa.UniqueConstraint('reading_id', 'seq', name=op.f('uq_container_log_pieces_reading_id_seq'))
    )


def downgrade() -> None:

    op.drop_table('container_log_pieces')
    with op.batch_alter_table('container_log_readings', schema=None) as batch_op:
        batch_op.drop_index('ix_container_log_readings_state')

    op.drop_table('container_log_readings')
    op.drop_table('container_engines')
    with op.batch_alter_table('containers', schema=None) as batch_op:
        batch_op.drop_index('ix_containers_state')
        batch_op.drop_index('ix_containers_name')

    op.drop_table('containers')
