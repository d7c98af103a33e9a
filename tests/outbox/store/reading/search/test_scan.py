"""What a search finds is what a plain filter in Python finds: nothing is missed, nothing comes twice, whatever the windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_outbox import Status
from flask_outbox.store.models import Base, Content, Email
from flask_outbox.store.reading.search import Search, bounds, condition, parse, scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask_outbox.store.reading.search import Query

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
SUBJECTS = ("Your invoice 10%", "Größe_ÄNDERN", "", "a\\b [x] * ? ^", "DAS IST <b>", "İstanbul")
RECIPIENTS = ("Susan@example.com", "susan@example.org", "Zoë@example.com", "o'hara_%@example.com")
REPLIES = ("550 user unknown", "550 Größe", "451 later")
COUNT = 240
FIRST_ID = 100


def rows() -> list[dict[str, Any]]:
    """Return emails of every kind, with gaps between their ids, and ids that are up to an hour out of order in time."""
    made = []
    statuses = list(Status)
    for number in range(COUNT):
        status = statuses[number * number % 7]
        made.append(
            {
                "id": FIRST_ID + number * 3 + (500 if number > 120 else 0),
                "recipient": RECIPIENTS[number % 4],
                # An older version has left some empty.
                "recipient_lower": None if number % 11 == 0 and number % 4 < 2 else RECIPIENTS[number % 4].lower(),
                "status": status.value,
                "template": (None, "mail/reset", "mail/welcome")[number % 3],
                "key": (None, "k1", None, f"k-{number}")[number % 4],
                "reply": None if status in {Status.QUEUED, Status.HELD} else REPLIES[number % 3],
                "failure": REPLIES[number % 3] if status is Status.FAILED else None,
                "created_at": NOW - timedelta(hours=6 * (COUNT - number)) + timedelta(minutes=(number * 37 % 59)),
                "subject": SUBJECTS[number % 6],
                "sender": ("shop@example.com", "Info@example.com")[number % 2],
                "request_id": (None, f"r-{number % 5}")[number % 2],
            }
        )
    return made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    url: Any = f"sqlite:///{tmp_path_factory.mktemp('scan') / 'test.sqlite3'}"
    if request.param == "postgresql":
        url = sa.make_url(request.getfixturevalue("postgres").url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    common = {"message_id": "<x>", "size": 1, "secret": False, "source": b""}
    contents = ("subject", "sender", "request_id")
    with engine.begin() as connection:
        # Keys are unique for a recipient, so a number makes the recipient another one.
        for row in rows():
            content = {name: row[name] for name in contents} | common | {"id": row["id"]}
            connection.execute(sa.insert(Content).values(content))
            email = {name: value for name, value in row.items() if name not in contents}
            email["key"] = f"{row['key']}" if row["key"] is None else row["key"] + (f"/{row['id']}" if row["key"] == "k1" else "")
            email["key"] = None if row["key"] is None else email["key"]
            connection.execute(sa.insert(Email).values(email | {"content_id": row["id"]}))
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows be small, so that a search crosses many."""
    monkeypatch.setattr(bounds, "NEAR", 2)
    monkeypatch.setattr(scan, "FIRST_WINDOW", 7)
    monkeypatch.setattr(scan, "LARGEST_WINDOW", 20)


def contains(text: str, part: str) -> bool:
    return part.lower() in text.lower()


def is_to(row: dict[str, Any], value: str) -> bool:
    whole = "@" in value and "." in value.rpartition("@")[2] and not value.startswith("@")
    return row["recipient"].lower() == value.lower() if whole else contains(row["recipient"], value)


NAIVE: dict[str, Callable[[dict[str, Any], Any], bool]] = {
    "": lambda row, value: contains(row["subject"], value) or contains(row["recipient"], value),
    "to": is_to,
    "from": lambda row, value: contains(row["sender"], value),
    "subject": lambda row, value: contains(row["subject"], value),
    "template": lambda row, value: row["template"] == value,
    "failure": lambda row, value: row["failure"] == value,
    "reply": lambda row, value: contains(row["reply"] or "", value),
    "key": lambda row, value: value == (f"k1/{row['id']}" if row["key"] == "k1" else row["key"]),
    "request": lambda row, value: row["request_id"] == value,
    "status": lambda row, value: row["status"] in value,
    "id": lambda row, value: row["id"] in value,
    "after": lambda row, value: row["created_at"] >= value,
    "before": lambda row, value: row["created_at"] < value,
}


def expected(query: Query) -> list[int]:
    """Return the ids that a plain filter finds, newest first."""
    return [
        row["id"] for row in reversed(rows()) if all(NAIVE[term.name](row, term.value) != term.is_negated for term in query.terms)
    ]


WORDS = [
    "invoice",
    "INVOICE",
    "10%",
    "_",
    "größe",
    "GRÖSSE",
    "ändern",
    "\\",
    '"[x] *"',
    "?",
    "^",
    "zoë",
    "nothing",
    "'",
    "to:susan@example.com",
    "to:SUSAN@example.com",
    "to:ZOË@example.com",
    "to:susan@",
    "to:example.com",
    "from:info",
    "subject:das",
    "subject:<b>",
    "template:mail/reset",
    "template:none",
    'failure:"550 user unknown"',
    "reply:größe",
    "reply:later",
    "key:k-3",
    f"key:k1/{FIRST_ID + 3}",
    "request:r-1",
    "status:failed",
    "status:failed,sent",
    f"id:{FIRST_ID},{FIRST_ID + 30},7",
    "after:2026-10-01",
    "after:30d",
    "before:2026-10-20",
    "before:10d",
]


def lines() -> st.SearchStrategy[str]:
    word = st.tuples(st.booleans(), st.sampled_from(WORDS)).map(
        lambda pair: f"-{pair[1]}" if pair[0] and not pair[1].startswith(("after", "before")) else pair[1]
    )
    kind = {"status", "id"}

    def is_single(words: list[str]) -> bool:
        return all(sum(word.startswith(f"{name}:") for word in words) < 2 for name in kind)

    return st.lists(word, max_size=3).filter(is_single).map(" ".join)


def pages_down(engine: sa.Engine, query: Query, limit: int) -> list[int]:
    """Return all ids as one finds them who turns page after page, each as short as possible."""
    found: list[int] = []
    below = None
    with engine.connect() as connection:
        for _ in range(1000):
            ids, below = Search(connection, query).find(limit, 0, below=below)
            assert len(ids) <= limit
            found += ids
            if below is None:
                return found
    pytest.fail("it never ends")


def pages_up(engine: sa.Engine, query: Query, limit: int) -> list[int]:
    found: list[int] = []
    above: int | None = 0
    with engine.connect() as connection:
        while above is not None:
            ids, above = Search(connection, query).find_above(above, limit, 0)
            found = ids + found
    return found


def counted(engine: sa.Engine, query: Query) -> int:
    number, below = 0, None
    with engine.connect() as connection:
        while True:
            more, below = Search(connection, query).count(0, below=below)
            number += more
            if below is None:
                return number


@pytest.mark.parametrize("line", ["", *WORDS, *(f"-{word}" for word in WORDS if not word.startswith(("after", "before")))])
def test_each_word_finds_what_a_plain_filter_finds(engine: sa.Engine, line: str) -> None:
    query = parse(line, NOW)
    assert pages_down(engine, query, 9) == expected(query)
    assert counted(engine, query) == len(expected(query))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines(), st.integers(1, 60))
def test_all_words_together_find_what_a_plain_filter_finds(engine: sa.Engine, line: str, limit: int) -> None:
    query = parse(line, NOW)
    ids = expected(query)
    assert pages_down(engine, query, limit) == ids
    assert pages_up(engine, query, limit) == ids
    assert counted(engine, query) == len(ids)
    with engine.connect() as connection:
        assert sorted(connection.scalars(sa.select(Email.id).where(condition(query))), reverse=True) == ids


def test_a_search_with_time_enough_says_that_it_is_complete(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        assert Search(connection, parse("invoice status:held", NOW)).find(1000, 60).reached is None
        assert Search(connection, parse("nothing", NOW)).find(10, 60) == ([], None)


def test_a_search_without_time_says_how_far_it_has_come(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        ids, reached = Search(connection, parse("nothing", NOW)).find(10, 0)
    assert ids == []
    assert reached == sorted((row["id"] for row in rows()), reverse=True)[6]


def test_an_empty_outbox_is_searched(tmp_path: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    Base.metadata.create_all(engine)
    with engine.connect() as connection:
        for line in ("", "invoice", "status:failed after:yesterday", "to:a@b.example"):
            search = Search(connection, parse(line, NOW))
            assert search.find(10, 1) == ([], None)
            assert search.find_above(0, 10, 1) == ([], None)
            assert search.count(1) == (0, None)
    engine.dispose()


@pytest.mark.parametrize(
    ("line", "index"),
    [
        ("status:failed", "ix_mail_email_status"),
        ("-status:sent", "ix_mail_email_status"),
        ("to:susan@example.com", "ix_mail_email_recipient"),
        ("template:mail/reset", "ix_mail_email_template"),
        ('failure:"550 user unknown"', "ix_mail_email_failure"),
        ("key:k-3", "uq_mail_email_key_recipient"),
        ("id:103", "rowid=?"),
    ],
)
def test_what_an_index_serves_is_found_by_it(engine: sa.Engine, line: str, index: str) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a small table as a whole")
    asked: list[Any] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with engine.connect() as connection:
        search = Search(connection, parse(line, NOW))
        sa.event.listen(engine, "before_cursor_execute", note)
        search.find(10, 1)
        sa.event.remove(engine, "before_cursor_execute", note)
        steps = [
            row[-1]
            for statement, parameters in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert any(index in step for step in steps), steps
    assert not any(step.startswith("SCAN mail_email") for step in steps), steps
