"""a user's name is called username

Revision ID: 0003
Revises: 0002
"""

from contextlib import contextmanager

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade():
    rename("name", "username")


def downgrade():
    rename("username", "name")


def rename(old, new):
    """Rename the column, and the unique constraint that is named after it; the rows stay as they are."""
    # The check constraint follows the column by itself.
    op.execute(f"ALTER TABLE users RENAME COLUMN {old} TO {new}")
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE users RENAME CONSTRAINT uq_users_{old} TO uq_users_{new}")
        return
    # SQLite renames no constraint: the table is copied.
    with copying(), op.batch_alter_table("users") as batch_op:
        batch_op.drop_constraint(f"uq_users_{old}", type_="unique")
        batch_op.create_unique_constraint(f"uq_users_{new}", [new])


@contextmanager
def copying():
    """Turn foreign keys off: dropping the old table would delete the rows that refer to it (ON DELETE CASCADE)."""
    # SQLite changes this setting only between transactions.
    with op.get_context().autocommit_block():
        op.execute("PRAGMA foreign_keys = OFF")
    yield
    with op.get_context().autocommit_block():
        op.execute("PRAGMA foreign_keys = ON")
