"""PostgreSQL far away: packets dropped, backends killed, a pooler between. Every request is answered, and no mail is lost.

Each test prints its figures.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa

from flask_outbox import Email
from flask_outbox.testing import slow
from flasky.extensions import db
from tests.chaos.conftest import LONG
from tests.chaos.postgresql import FarPostgres, PgBouncer, Standby
from tests.chaos.theatre import Theatre
from tests.servers import PostgresServer, Site, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from flask_outbox.testing import SmtpServer

# The longest time in seconds that a request may take while the database is away.
LONGEST = 15.0
long = pytest.mark.skipif(not LONG, reason="belongs to the long form: make chaos")


@pytest.fixture
def make_theatre(
    make_app: Callable[..., Flask], site: Callable[..., Site], smtp: SmtpServer, redis_url: str
) -> Iterator[Callable[[str, str], Theatre]]:
    """A function that makes a theatre: the test reaches the database at the first URL, the site at the second."""
    stack = ExitStack()

    def make(url: str, site_url: str) -> Theatre:
        app = make_app(database_url=url, redis_url=redis_url, flasky_mail_dispatch="rq")
        stack.enter_context(app.app_context())
        own = site(DATABASE_URL=site_url, REDIS_URL=redis_url, MAIL_SERVER="127.0.0.1", MAIL_PORT=smtp.port)
        theatre = Theatre(app, own, smtp)
        stack.callback(theatre.close)
        return theatre

    with stack:
        yield make


@pytest.fixture
def far_postgres() -> Iterator[FarPostgres]:
    server = FarPostgres()
    yield server
    server.heal()
    server.stop()


@pytest.fixture
def pgbouncer(postgres_url: str, postgres: PostgresServer) -> Iterator[PgBouncer]:
    pooler = PgBouncer(postgres_url, postgres.system_user)
    yield pooler
    pooler.stop()


@pytest.mark.timeout(600)
def test_packets_are_dropped(
    make_theatre: Callable[[str, str], Theatre], far_postgres: FarPostgres, smtp: SmtpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds, count = (90, 2000) if LONG else (0, 300)
    theatre = make_theatre(far_postgres.url, far_postgres.far_url("postgres"))
    smtp.on("DOT", slow(0.01), always=True)
    workers = theatre.begin(count, sent=50)
    visitors = theatre.visitors(12, 1)
    time.sleep(1)
    far_postgres.drop_packets()
    wait_until(lambda: "the database cannot" in workers[0].output, LONGEST, "the workers' word")
    wait_until(lambda: 503 in visitors.statuses, LONGEST, "the site's word")
    time.sleep(seconds)
    far_postgres.heal()
    before = len(visitors.welcomed)
    wait_until(lambda: len(visitors.welcomed) > before, LONGEST, "a name that is stored again")
    copies = theatre.finish(visitors, f"packets dropped for {seconds} s", capsys)
    assert set(visitors.statuses) == {200, 503}
    assert visitors.longest < LONGEST
    assert copies <= len(workers)


@long
@pytest.mark.timeout(600)
def test_statements_wait_at_the_server_while_packets_are_dropped(
    make_theatre: Callable[[str, str], Theatre], far_postgres: FarPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    """TCP's own timeout sees nothing: all that was written has been acknowledged."""
    theatre = make_theatre(far_postgres.url, far_postgres.far_url("postgres"))
    theatre.site.web()
    with psycopg.connect(far_postgres.url) as lock:
        lock.execute("LOCK TABLE users")
        visitors = theatre.visitors(3, 0.2)
        with psycopg.connect(far_postgres.url, autocommit=True) as watch:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(lambda: watch.execute(waiting).fetchone() == (3,), what="three posts that wait")
        far_postgres.drop_packets()
        begun = time.monotonic()
        wait_until(lambda: len(visitors.answers) >= 3, LONGEST, "three answers")
        answered = time.monotonic() - begun
    far_postgres.heal()
    before = len(visitors.welcomed)
    wait_until(lambda: len(visitors.welcomed) > before, LONGEST, "a name that is stored again")
    visitors.stop()
    assert set(visitors.statuses) == {200, 503}
    with capsys.disabled():
        print(f"\nstatements that waited while packets were dropped: all answered after {answered:.1f} s")  # noqa: T201 - the figures


@long
@pytest.mark.timeout(600)
def test_who_vanishes_in_a_transaction_keeps_no_lock(
    make_theatre: Callable[[str, str], Theatre], make_app: Callable[..., Flask], far_postgres: FarPostgres, smtp: SmtpServer
) -> None:
    theatre = make_theatre(far_postgres.url, far_postgres.far_url("postgres"))
    theatre.put(5)
    with make_app(database_url=far_postgres.far_url("postgres")).app_context():
        claiming = db.engine.connect()
        claiming.execute(sa.select(Email.id).with_for_update())
        # What the server has sent must be acknowledged before: nothing is left on which it could notice.
        time.sleep(0.5)
        far_postgres.drop_packets()
        with pytest.raises(sa.exc.OperationalError):
            claiming.execute(sa.select(Email.id))
        claiming.close()
    far_postgres.heal()
    theatre.worker()
    theatre.wait_until_sent(40)


@pytest.fixture
def pair() -> Iterator[tuple[PostgresServer, Standby]]:
    primary = PostgresServer()
    standby = Standby(primary)
    yield primary, standby
    standby.stop()
    primary.stop()


@long
@pytest.mark.timeout(600)
def test_the_primary_dies_and_its_standby_is_promoted(
    make_theatre: Callable[[str, str], Theatre],
    pair: tuple[PostgresServer, Standby],
    smtp: SmtpServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    primary, standby = pair
    url = f"postgresql://postgres@/postgres?host={primary.socket_dir}&host={standby.socket_dir}&target_session_attrs=read-write"
    theatre = make_theatre(url, url)
    smtp.on("DOT", slow(0.01), always=True)
    workers = theatre.begin(200, sent=20)
    visitors = theatre.visitors(4, 0.1)
    time.sleep(0.5)
    primary.die()
    time.sleep(1)
    standby.promote()
    before = len(visitors.welcomed)
    wait_until(lambda: len(visitors.welcomed) > before, LONGEST, "a name that the new primary stores")
    copies = theatre.finish(visitors, "the standby promoted", capsys)
    assert set(visitors.statuses) == {200, 503}
    assert visitors.longest < LONGEST
    assert copies <= len(workers)


@long
@pytest.mark.timeout(600)
def test_the_server_becomes_read_only_for_a_while(
    make_theatre: Callable[[str, str], Theatre], postgres_url: str, smtp: SmtpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    theatre = make_theatre(postgres_url, postgres_url)
    smtp.on("DOT", slow(0.01), always=True)
    workers = theatre.begin(200, sent=20)
    visitors = theatre.visitors(4, 0.1)
    with psycopg.connect(postgres_url, autocommit=True) as operator:
        for value, seconds in (("on", 3), ("off", 0)):
            operator.execute("SET default_transaction_read_only = off")
            operator.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            operator.execute("SELECT pg_reload_conf()")
            time.sleep(seconds)
        operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
    before = len(visitors.welcomed)
    wait_until(lambda: len(visitors.welcomed) > before, LONGEST, "a name that is stored again")
    copies = theatre.finish(visitors, "a server that is read-only for 3 s", capsys)
    assert "read-only transaction" in workers[0].output
    assert set(visitors.statuses) == {200, 503}
    assert copies == 0


@long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "option",
    ["default_transaction_isolation=serializable", "default_transaction_isolation=repeatable\\ read", "statement_timeout=2000"],
)
def test_the_app_has_set_up_its_sessions_otherwise(
    make_theatre: Callable[[str, str], Theatre],
    postgres_url: str,
    smtp: SmtpServer,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    theatre = make_theatre(postgres_url, f"{postgres_url}&options={quote(f'-c {option}')}")
    theatre.site.web()
    workers = [theatre.worker(lease=60), theatre.worker(lease=60), theatre.worker(lease=60)]
    visitors = theatre.visitors(4, 0.02)
    theatre.put(200)
    wait_until(lambda: len(visitors.answers) >= 60, 60, "the posts")
    copies = theatre.finish(visitors, option, capsys)
    assert copies == 0
    assert "ERROR" not in workers[0].output


@pytest.mark.timeout(600)
def test_every_backend_is_killed_each_second(
    make_theatre: Callable[[str, str], Theatre], postgres_url: str, smtp: SmtpServer, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = 15 if LONG else 3
    theatre = make_theatre(postgres_url, postgres_url)
    smtp.on("DOT", slow(0.015), always=True)
    workers = theatre.begin(70, sent=10)
    visitors = theatre.visitors(2, 0.1)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    for _ in range(kills):
        theatre.put(70)
        time.sleep(1)
        with psycopg.connect(postgres_url, autocommit=True) as killer:
            killer.execute(kill)
        db.engine.dispose()
    copies = theatre.finish(visitors, f"backends killed {kills} times", capsys)
    assert set(visitors.statuses) <= {200, 503}
    assert visitors.longest < LONGEST
    assert copies <= kills * len(workers)


@pytest.mark.timeout(600)
def test_pgbouncer_gives_each_transaction_another_backend(
    make_theatre: Callable[[str, str], Theatre], postgres_url: str, pgbouncer: PgBouncer, capsys: pytest.CaptureFixture[str]
) -> None:
    count, posts = (500, 60) if LONG else (200, 30)
    theatre = make_theatre(postgres_url, pgbouncer.url)
    theatre.site.web()
    workers = [theatre.worker(lease=60), theatre.worker(lease=60)]
    visitors = theatre.visitors(8, 0.02)
    theatre.put(count)
    wait_until(lambda: len(visitors.answers) >= posts, 60, "the posts")
    copies = theatre.finish(visitors, "PgBouncer in transaction mode", capsys)
    assert copies == 0
    assert set(visitors.statuses) == {200}
    for worker in workers:
        assert "ERROR" not in worker.output
