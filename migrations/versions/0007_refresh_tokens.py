"""the newest OAuth2 refresh token is kept, because the one before it may be void

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "mail_oauth_token",
        sa.Column("account", sa.String(320), nullable=False),
        sa.Column("configured", sa.String(64), nullable=False),
        sa.Column("refresh_token", sa.Text),
        sa.Column("renewed_at", sa.DateTime(timezone=True)),
        sa.Column("lease", sa.String(32)),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_mail_oauth_token")),
    )


def downgrade():
    op.drop_table("mail_oauth_token")
