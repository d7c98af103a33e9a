"""A delivery shares the host's connection pool, unless that is too small to share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool, QueuePool

from flask_outbox import Email, Mail, send_email
from flask_outbox.store.database.host import Database
from tests.servers import wait_until

if TYPE_CHECKING:
    from flask_outbox.testing import SmtpServer


@pytest.mark.parametrize(
    ("options", "is_shared"),
    [
        ({}, True),
        ({"pool_size": 4, "max_overflow": 4}, True),
        ({"pool_size": 1, "max_overflow": -1}, True),
        ({"pool_size": 0}, True),
        ({"poolclass": NullPool}, True),
        ({"pool_size": 4, "max_overflow": 3}, False),
        ({"pool_size": 1, "max_overflow": 0}, False),
    ],
)
def test_a_small_pool_is_left_to_the_requests(make_engine: Any, sqlalchemy_url: str, options: Any, is_shared: bool) -> None:
    engine = make_engine(sqlalchemy_url, **({"poolclass": QueuePool} | options))
    other = Database(engine, None, None).engine_for(4)
    assert (other is engine) is is_shared
    with other.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


def test_the_twin_keeps_what_the_host_has_set_up(make_engine: Any, sqlalchemy_url: str) -> None:
    engine = make_engine(sqlalchemy_url, poolclass=QueuePool, pool_size=1, max_overflow=0, execution_options={"mine": 1})
    seen: list[object] = []
    sa.event.listen(engine, "connect", lambda *_: seen.append("connect"))
    other = Database(engine, None, None).engine_for(4)
    with engine.connect(), other.connect() as connection:
        assert connection.get_execution_options()["mine"] == 1
    assert seen == ["connect", "connect"]


def test_an_idle_thread_keeps_no_connection_of_the_pool(
    make_flask: Any, make_engine: Any, sqlalchemy_url: str, smtp: SmtpServer
) -> None:
    engine = make_engine(sqlalchemy_url, poolclass=QueuePool, pool_size=8)
    Email.metadata.create_all(engine)
    app = make_flask(MAIL_DELIVERY="thread")
    Mail(app, db=engine)
    with app.app_context():
        send_email("a@b.example", "Hi", "hello", name="susan")
        smtp.wait_for(1)
        wait_until(lambda: engine.pool.checkedout() == 0, what="the thread to give its connections back")
        app.extensions["mail"].bell.stop()


def test_one_may_deliver_while_the_session_has_the_only_connection(make_flask: Any, make_engine: Any, postgresql_url: str) -> None:
    engine = make_engine(postgresql_url, pool_size=1, max_overflow=0, pool_timeout=1)
    session = scoped_session(sessionmaker(engine))
    metadata, app = sa.MetaData(), make_flask()
    mail = Mail(app, db=session, metadata=metadata)
    metadata.create_all(engine)
    with app.app_context():
        for number in range(3):
            send_email(f"{number}@b.example", "Hi", "hello", name="susan")
        session.execute(sa.text("SELECT 1"))
        assert mail.deliver() == 3
    session.remove()
