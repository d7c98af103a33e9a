"""a session names its account by a key that signing out replaces

Revision ID: 0004
Revises: 0003
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("users", sa.Column("session_key", sa.String(43)))
    users = sa.table("users", sa.column("id"), sa.column("email"), sa.column("session_key"))
    connection = op.get_bind()
    for (user_id,) in connection.execute(sa.select(users.c.id).where(users.c.email.is_not(None))).all():
        connection.execute(sa.update(users).where(users.c.id == user_id).values(session_key=secrets.token_urlsafe()))
    op.create_index("ix_users_session_key", "users", ["session_key"], unique=True)


def downgrade():
    op.drop_index("ix_users_session_key", "users")
    op.drop_column("users", "session_key")
