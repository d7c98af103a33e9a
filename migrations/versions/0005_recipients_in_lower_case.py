"""emails are found by address, whatever the case of its letters

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEX = "ix_mail_email_recipient"


def upgrade():
    op.add_column("mail_email", sa.Column("recipient_lower", sa.String(320)))
    op.execute("UPDATE mail_email SET recipient_lower = lower(recipient)")
    op.drop_index(INDEX, "mail_email")
    op.create_index(INDEX, "mail_email", ["recipient_lower", "id"])


def downgrade():
    op.drop_index(INDEX, "mail_email")
    op.create_index(INDEX, "mail_email", ["recipient", "id"])
    op.drop_column("mail_email", "recipient_lower")
