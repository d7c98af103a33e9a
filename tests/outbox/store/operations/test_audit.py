"""An action that is finished is in the audit, with the emails that it was about."""

from __future__ import annotations

import sqlalchemy as sa
from flask import Flask

from flask_outbox.store.models import audited, audits
from flask_outbox.store.operations.audit import record
from flasky.extensions import db


def test_an_action_is_recorded_with_its_emails(quiet: Flask) -> None:
    with db.engine.begin() as connection:
        first = record(connection, actor="susan" * 100, address="::1", action="retry", emails=[3, 1, 3], search="status:failed")
        second = record(connection, actor="susan", address="", action="preview", detail="mail/welcome")
    with db.engine.connect() as connection:
        rows = {row.id: row for row in connection.execute(sa.select(audits))}
        assert sorted(connection.execute(sa.select(audited.c.audit_id, audited.c.email_id)).all()) == [(first, 1), (first, 3)]
    assert (rows[first].expected, rows[first].changed, rows[first].search, len(rows[first].actor)) == (2, 2, "status:failed", 200)
    assert (rows[second].expected, rows[second].detail) == (0, "mail/welcome")
    assert all(row.finished_at and row.at for row in rows.values())
