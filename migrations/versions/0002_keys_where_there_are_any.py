"""an index of keys for the emails that have one

Revision ID: 0002
Revises: 0001
"""

from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = "uq_mail_email_key_recipient"


def upgrade():
    with copying():
        with op.batch_alter_table("mail_email") as batch_op:
            batch_op.drop_constraint(NAME, type_="unique")
        op.create_index(
            NAME,
            "mail_email",
            ["key", "recipient"],
            unique=True,
            sqlite_where=sa.text("key IS NOT NULL"),
            postgresql_where=sa.text("key IS NOT NULL"),
        )


def downgrade():
    with copying():
        op.drop_index(NAME, table_name="mail_email")
        with op.batch_alter_table("mail_email") as batch_op:
            batch_op.create_unique_constraint(NAME, ["key", "recipient"])


@contextmanager
def copying():
    """SQLite copies the table and drops the old one, which must not take the attempts along (ON DELETE CASCADE)."""
    if op.get_context().dialect.name != "sqlite":
        yield
        return
    # It is changed between transactions alone.
    with op.get_context().autocommit_block():
        op.execute("PRAGMA foreign_keys = OFF")
    yield
    with op.get_context().autocommit_block():
        op.execute("PRAGMA foreign_keys = ON")
