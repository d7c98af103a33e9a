"""what the operator's desk shows: where each email comes from, why it failed, which workers run, and who has done what

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade():
    op.add_column("mail_content", sa.Column("request_id", sa.String(200)))
    op.add_column("mail_content", sa.Column("origin", sa.String(200)))
    op.add_column("mail_content", sa.Column("traceparent", sa.String(55)))
    op.add_column("mail_email", sa.Column("failure", sa.String(200)))
    op.add_column("mail_email", sa.Column("template", sa.String(200)))
    failed, has_template = sa.text("status = 'failed'"), sa.text("template IS NOT NULL")
    op.create_index(
        "ix_mail_email_failure", "mail_email", ["failure", "id", "finished_at"], sqlite_where=failed, postgresql_where=failed
    )
    op.create_index(
        "ix_mail_email_template", "mail_email", ["template", "id"], sqlite_where=has_template, postgresql_where=has_template
    )
    op.create_table(
        "mail_worker",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("doing", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_mail_worker")),
    )
    op.create_table(
        "mail_audit",
        sa.Column("id", Id, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("address", sa.String(100), nullable=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("search", sa.Text),
        sa.Column("expected", sa.Integer, nullable=False),
        sa.Column("changed", sa.Integer, nullable=False),
        sa.Column("first_id", Id),
        sa.Column("last_id", Id),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("detail", sa.Text),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_audit")),
    )
    op.create_table(
        "mail_audit_email",
        sa.Column("audit_id", Id, nullable=False),
        sa.Column("email_id", Id, nullable=False),
        sa.ForeignKeyConstraint(
            ["audit_id"], ["mail_audit.id"], name=op.f("fk_mail_audit_email_audit_id_mail_audit"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("audit_id", "email_id", name=op.f("pk_mail_audit_email")),
    )
    op.create_index(op.f("ix_mail_audit_email_email_id"), "mail_audit_email", ["email_id"])


def downgrade():
    op.drop_table("mail_audit_email")
    op.drop_table("mail_audit")
    op.drop_table("mail_worker")
    op.drop_index("ix_mail_email_template", "mail_email")
    op.drop_index("ix_mail_email_failure", "mail_email")
    op.drop_column("mail_email", "template")
    op.drop_column("mail_email", "failure")
    op.drop_column("mail_content", "traceparent")
    op.drop_column("mail_content", "origin")
    op.drop_column("mail_content", "request_id")
