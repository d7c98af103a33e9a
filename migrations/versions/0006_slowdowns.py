"""how fast each worker sends while the SMTP server takes less

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "mail_slowdown",
        sa.Column("worker", sa.String(length=100), nullable=False),
        sa.Column("speed", sa.Double(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_mail_slowdown")),
    )


def downgrade():
    op.drop_table("mail_slowdown")
