"""The run engine: secrets, keys, requests, results and artefacts of runs; numbered lines of output

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:

    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('secrets', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('run_key', sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column('skip', sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.create_index('ix_runs_key', ['run_key', 'status'], unique=False)
        batch_op.create_index('ix_runs_finished', ['finished_at'], unique=False)

    with op.batch_alter_table('run_steps', schema=None) as batch_op:
        batch_op.add_column(sa.Column('spec', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('result', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('held', sa.Text(), nullable=True))
        batch_op.add_column(sa.Column('attempt', sa.Integer(), server_default='1', nullable=False))
        batch_op.add_column(sa.Column('log_lines', sa.Integer(), server_default='0', nullable=False))
        batch_op.add_column(sa.Column('log_open', sa.String(length=32), server_default='', nullable=False))

    with op.batch_alter_table('run_logs', schema=None) as batch_op:
        batch_op.add_column(sa.Column('line', sa.Integer(), server_default='0', nullable=False))
        batch_op.add_column(sa.Column('joined', sa.Boolean(), server_default=sa.false(), nullable=False))

    op.create_table('run_artefacts',
    sa.Column('id', sa.String(length=36), nullable=False),
    sa.Column('run_id', sa.String(length=36), nullable=False),
    sa.Column('step_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('name', sa.String(length=255), nullable=False),
    sa.Column('media_type', sa.String(length=100), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_run_artefacts_run_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['step_id'], ['run_steps.id'], name=op.f('fk_run_artefacts_step_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_run_artefacts'))
    )
    with op.batch_alter_table('run_artefacts', schema=None) as batch_op:
        batch_op.create_index('ix_run_artefacts_run', ['run_id', 'created_at'], unique=False)


def downgrade() -> None:

    with op.batch_alter_table('run_artefacts', schema=None) as batch_op:
        batch_op.drop_index('ix_run_artefacts_run')

    op.drop_table('run_artefacts')
    with op.batch_alter_table('run_logs', schema=None) as batch_op:
        batch_op.drop_column('joined')
        batch_op.drop_column('line')

    with op.batch_alter_table('run_steps', schema=None) as batch_op:
        for name in ('log_open', 'log_lines', 'attempt', 'held', 'result', 'spec'):
            batch_op.drop_column(name)

    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.drop_index('ix_runs_finished')
        batch_op.drop_index('ix_runs_key')
        for name in ('skip', 'run_key', 'secrets'):
            batch_op.drop_column(name)
