"""The outbox tables, on SQLAlchemy metadata of their own.

``Content`` is a finished MIME message; ``Email`` is one envelope, that message for one recipient; ``Attempt`` is one attempt
to transmit it. ``Health`` is a single row that exists only while the SMTP server cannot be used; ``Slowdown`` is one row for
each worker that the server has asked to slow down. ``OAuthToken`` is an account's current refresh token. ``Worker`` is one row for
each worker that is running; ``Audit`` is one action of an operator, and ``AuditedEmail`` one email that it has changed.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from .database.clock import Now, UTCDateTime

# RFC 5321, 4.5.3.1: 64 for the local part, the @, 255 for the domain.
ADDRESS_LENGTH = 320
KEY_LENGTH = 200
TRACEPARENT_LENGTH = 55
# Longer names of templates, workers, operators and the like are cut.
NAME_LENGTH = 200


class Base(DeclarativeBase):
    """The base class of the outbox tables, apart from the host's own."""

    type_annotation_map = {datetime: UTCDateTime}  # noqa: RUF012 - SQLAlchemy's own form


class Status(enum.StrEnum):
    """The status of an email. Only an operator can change a final one: sent, failed, expired or cancelled."""

    QUEUED = "queued"
    SENDING = "sending"
    HELD = "held"
    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Return whether only an operator can change the status."""
        return self not in {Status.QUEUED, Status.SENDING, Status.HELD}


class Priority(enum.IntEnum):
    """The order of due emails: the smallest number goes first."""

    URGENT = 0
    NORMAL = 10
    BULK = 20


# BIGINT; but SQLite numbers rows only in a column declared as INTEGER.
Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


class Content(Base):
    """A finished message, byte for byte as SMTP transmits it, stored once for all its recipients.

    ``source`` is None after a secret message has been erased.
    """

    __tablename__ = "mail_content"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    message_id: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH))
    sender: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH))
    subject: Mapped[str] = mapped_column(sa.Text)
    source: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    size: Mapped[int]
    secret: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=Now())
    # The id of the request that enqueued it, and what that was: "POST /orders/<int:id>", or "flask mail send".
    request_id: Mapped[str | None] = mapped_column(sa.String(NAME_LENGTH))
    origin: Mapped[str | None] = mapped_column(sa.String(NAME_LENGTH))
    # The trace of that moment, if the app is traced: version, trace id, span id and flags, as W3C Trace Context writes them.
    traceparent: Mapped[str | None] = mapped_column(sa.String(TRACEPARENT_LENGTH))


def _lower_recipient(context: Any) -> str:
    recipient: str = context.get_current_parameters()["recipient"]
    return recipient.lower()


class Email(Base):
    """One envelope: a message for one recipient, and its status."""

    __tablename__ = "mail_email"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    content_id: Mapped[int] = mapped_column(sa.ForeignKey(Content.id), index=True)
    recipient: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH))
    # For a search by address. A column, because Alembic does not see an index on lower(recipient) on SQLite, and cannot copy a
    # table with a generated column. Nullable, so that a generated migration adds it to a table with rows.
    recipient_lower: Mapped[str | None] = mapped_column(sa.String(ADDRESS_LENGTH), default=_lower_recipient)
    status: Mapped[str] = mapped_column(sa.String(10), default=Status.QUEUED)
    priority: Mapped[int] = mapped_column(sa.SmallInteger, default=Priority.NORMAL)
    send_at: Mapped[datetime] = mapped_column(default=Now())
    # When it first became due: MAIL_RETRY_FOR counts from here, not from ``created_at``.
    due_since: Mapped[datetime] = mapped_column(default=Now())
    expires_at: Mapped[datetime | None]
    key: Mapped[str | None] = mapped_column(sa.String(KEY_LENGTH))
    tries: Mapped[int] = mapped_column(default=0)
    lease: Mapped[str | None] = mapped_column(sa.String(32))
    lease_until: Mapped[datetime | None]
    reply: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(default=Now())
    finished_at: Mapped[datetime | None]
    # Why it failed: the reply without what differs between alike failures. None unless it failed.
    failure: Mapped[str | None] = mapped_column(sa.String(NAME_LENGTH))
    # The template pair that it was made from, such as mail/welcome.
    template: Mapped[str | None] = mapped_column(sa.String(NAME_LENGTH))

    content: Mapped[Content] = relationship(lazy="joined", innerjoin=True)
    attempts: Mapped[list[Attempt]] = relationship(order_by="Attempt.id", viewonly=True)

    __table_args__ = (
        # Partial, because most emails have no key.
        sa.Index(
            "uq_mail_email_key_recipient",
            "key",
            "recipient",
            unique=True,
            sqlite_where=sa.text("key IS NOT NULL"),
            postgresql_where=sa.text("key IS NOT NULL"),
        ),
        # For claim(), in its order; partial, so that a million finished rows do not slow it down.
        sa.Index(
            "ix_mail_email_due",
            "priority",
            "send_at",
            "id",
            sqlite_where=sa.text("status = 'queued'"),
            postgresql_where=sa.text("status = 'queued'"),
        ),
        sa.Index(
            "ix_mail_email_lease",
            "lease_until",
            sqlite_where=sa.text("status = 'sending'"),
            postgresql_where=sa.text("status = 'sending'"),
        ),
        sa.Index("ix_mail_email_status", "status", "id"),
        sa.Index("ix_mail_email_recipient", "recipient_lower", "id"),
        # To count alike failures, and find the first and the last, without reading a row.
        sa.Index(
            "ix_mail_email_failure",
            "failure",
            "id",
            "finished_at",
            sqlite_where=sa.text("status = 'failed'"),
            postgresql_where=sa.text("status = 'failed'"),
        ),
        sa.Index(
            "ix_mail_email_template",
            "template",
            "id",
            sqlite_where=sa.text("template IS NOT NULL"),
            postgresql_where=sa.text("template IS NOT NULL"),
        ),
    )

    def __repr__(self) -> str:
        return f"<Email {self.id} {self.status}>"

    @property
    def subject(self) -> str:
        """Return the subject as the recipient reads it."""
        return self.content.subject

    @property
    def message_id(self) -> str:
        """Return the Message-ID header with its angle brackets; every attempt sends the same one."""
        return self.content.message_id


class Attempt(Base):
    """One attempt to transmit one email: when, by which worker, and the server's reply."""

    __tablename__ = "mail_attempt"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    email_id: Mapped[int] = mapped_column(sa.ForeignKey(Email.id, ondelete="CASCADE"), index=True)
    started_at: Mapped[datetime]
    # Not by the annotation alone: SQLAlchemy 2.0 makes a Float of it, and 2.1 a Double, which Alembic takes for a change.
    seconds: Mapped[float] = mapped_column(sa.Double)
    worker: Mapped[str] = mapped_column(sa.String(100))
    outcome: Mapped[str] = mapped_column(sa.String(12))
    code: Mapped[int | None] = mapped_column(sa.SmallInteger)
    enhanced: Mapped[str | None] = mapped_column(sa.String(11))
    reply: Mapped[str | None] = mapped_column(sa.Text)


class Health(Base):
    """A single row, while the SMTP server cannot be used: since when, why, and when it is tried again."""

    __tablename__ = "mail_health"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    reason: Mapped[str] = mapped_column(sa.Text)
    ours: Mapped[bool]
    failures: Mapped[int]
    since: Mapped[datetime]
    next_try_at: Mapped[datetime]


class Slowdown(Base):
    """One row for each worker that the SMTP server has asked to slow down: how fast it sends now, and the server's reply.

    It is out of date after ``until``.
    """

    __tablename__ = "mail_slowdown"

    worker: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    # Emails a second.
    speed: Mapped[float]
    reply: Mapped[str] = mapped_column(sa.Text)
    since: Mapped[datetime]
    until: Mapped[datetime]


class OAuthToken(Base):
    """The refresh token of one account, since its token endpoint has returned a new one.

    ``configured`` is the SHA-256 of MAIL_OAUTH_REFRESH_TOKEN at that time. ``lease`` belongs to the process that exchanges it.
    """

    __tablename__ = "mail_oauth_token"

    account: Mapped[str] = mapped_column(sa.String(ADDRESS_LENGTH), primary_key=True)
    configured: Mapped[str] = mapped_column(sa.String(64))
    refresh_token: Mapped[str | None] = mapped_column(sa.Text)
    renewed_at: Mapped[datetime | None]
    lease: Mapped[str | None] = mapped_column(sa.String(32))
    lease_until: Mapped[datetime | None]


class Worker(Base):
    """One row for each worker that is running, and for each that was killed: since when, when it was last seen, doing what."""

    __tablename__ = "mail_worker"

    name: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    doing: Mapped[str] = mapped_column(sa.String(NAME_LENGTH))


class Audit(Base):
    """One action of an operator: who did what, when, from where, and to which emails.

    An action on everything that a search finds runs in many small transactions, from the largest id down: it applies to emails
    up to ``first_id``, has come down to ``last_id``, and is over once ``finished_at`` is set. ``expected`` is how many emails its
    preview counted, and ``changed`` how many it has changed so far.
    """

    __tablename__ = "mail_audit"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(default=Now())
    actor: Mapped[str] = mapped_column(sa.String(NAME_LENGTH))
    address: Mapped[str] = mapped_column(sa.String(100))
    action: Mapped[str] = mapped_column(sa.String(20))
    # The search line; None for an action on emails that were chosen one by one.
    search: Mapped[str | None] = mapped_column(sa.Text)
    expected: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    first_id: Mapped[int | None] = mapped_column(Id)
    last_id: Mapped[int | None] = mapped_column(Id)
    finished_at: Mapped[datetime | None]
    # What the columns cannot say, such as "sent again as email 12", in words.
    detail: Mapped[str | None] = mapped_column(sa.Text)


class AuditedEmail(Base):
    """One email that an action has changed, or shown; without a foreign key, because a purge deletes the email."""

    __tablename__ = "mail_audit_email"

    audit_id: Mapped[int] = mapped_column(sa.ForeignKey(Audit.id, ondelete="CASCADE"), primary_key=True)
    email_id: Mapped[int] = mapped_column(Id, primary_key=True, index=True)


def copy_tables(metadata: sa.MetaData | None) -> None:
    """Describe the outbox tables in the host's *metadata*, so that ``db.create_all()`` and ``flask db migrate`` see them.

    The tables take the metadata's schema. Without metadata they are in the default schema, and the host creates them. The copies
    have plain types, so that a generated migration does not import this library. Raises ValueError if another app in this process
    has its outbox in another schema.
    """
    _use_schema(None if metadata is None else metadata.schema)
    if metadata is None:
        return
    for table in Base.metadata.sorted_tables:
        if table.key not in metadata.tables:
            for column in table.to_metadata(metadata, schema=metadata.schema).columns:  # type: ignore[arg-type] # None is documented: the target's own
                if isinstance(column.type, UTCDateTime):
                    column.type = sa.DateTime(timezone=True)


_placed: list[str | None] = []


def _use_schema(schema: str | None) -> None:
    """Use *schema* for all tables of this process, because all statements share the same Table objects."""
    if _placed and _placed[0] != schema:
        message = (
            f"the outbox of another app in this process is in the schema {_placed[0] or '(default)'}, and this one's metadata says "
            f"{schema or '(default)'}: use one schema for both, or two processes"
        )
        raise ValueError(message)
    if not _placed:
        _placed.append(schema)
        for table in Base.metadata.sorted_tables:
            table.schema = schema


emails: Any = Email.__table__
contents: Any = Content.__table__
attempts: Any = Attempt.__table__
health: Any = Health.__table__
slowdowns: Any = Slowdown.__table__
oauth_tokens: Any = OAuthToken.__table__
workers: Any = Worker.__table__
audits: Any = Audit.__table__
audited: Any = AuditedEmail.__table__
