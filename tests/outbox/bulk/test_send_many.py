"""``flask mail send-many``, as an operator types it: stored once, invalid lines skipped, errors in one sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from flask_outbox import BULK, URGENT
from flask_outbox.delivery.bells import ThreadBell
from flask_outbox.delivery.rq_worker import RqBell
from tests.lettered import with_letter, write_people
from tests.outbox.conftest import Bell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer

PEOPLE = "email;name;number\nsusan@example.com;Susan & Söhne;1\nzoe@example.com;Zoë;2\n"
SUBJECT = "Hello {{ name }}"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = with_letter(make_app())
    app.extensions["mail"].bell = Bell()
    return app


@pytest.fixture
def send_many(app: Flask, tmp_path: Path) -> Callable[..., Any]:
    """A function that writes a file and sends to the people in it."""

    def run(data: str | bytes = PEOPLE, *words: str, subject: str = SUBJECT, template: str = "mail/letter") -> Any:
        (tmp_path / "people.csv").write_bytes(data.encode() if isinstance(data, str) else data)
        return app.test_cli_runner().invoke(
            args=["mail", "send-many", template, str(tmp_path / "people.csv"), "-s", subject, *words]
        )

    return run


def test_each_person_gets_her_own_mail(send_many: Any, app: Flask, smtp: SmtpServer) -> None:
    result = send_many()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("2 emails stored under the key send-many:mail/letter:")
    app.test_cli_runner().invoke(args=["mail", "deliver"])
    first, second = smtp.accepted
    # A subject is no HTML; the half that is HTML is escaped.
    assert first.message["Subject"] == "[Flasky] Hello Susan & Söhne"
    assert "Dear Susan &amp; Söhne" in first.message.get_body(("html",)).get_content()
    assert (second.recipient, second.message["Subject"]) == ("zoe@example.com", "[Flasky] Hello Zoë")


def test_the_same_command_again_sends_nobody_a_second_copy(send_many: Any, outbox: Any) -> None:
    send_many()
    again = send_many()
    assert again.exit_code == 0
    assert again.stdout.startswith("0 emails stored")
    assert "2 lines skipped: the address already has the email of this sending" in again.stdout
    assert "NO NEW RECIPIENTS: " in again.stdout
    assert "--key NAME" in again.stdout
    longer = send_many(PEOPLE + "new@example.com;New;3\n")
    assert longer.stdout.startswith("1 email stored")
    assert "NO NEW RECIPIENTS" not in longer.stdout
    assert send_many(PEOPLE, "--key", "second round").stdout == "2 emails stored under the key second round\n"
    assert send_many(PEOPLE, subject="Something else").stdout.startswith("2 emails stored")
    assert len(outbox()) == 7


def test_invalid_lines_are_reported_and_the_exit_code_says_so(send_many: Any, outbox: Any) -> None:
    result = send_many(PEOPLE + "nobody;x;3\n" * 30 + "last@example.com;Last;5;6\n" + "good@example.com;Good;4\n")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0].startswith("line 4: recipient 'nobody' is not an email address")
    assert lines[20] == "and 11 more"
    assert (
        lines[21] == "Error: 31 invalid lines skipped: correct the file and run the same command again; nobody gets a second copy"
    )
    assert result.stdout.startswith("3 emails stored")
    assert [one.recipient for one in outbox()] == ["good@example.com", "susan@example.com", "zoe@example.com"]
    assert send_many(PEOPLE + "last@example.com;Last;5\n").stdout.startswith("1 email stored")


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        ("name\nZoë\n", {}, "names no column email"),
        ("", {}, "the file is empty"),
        (b"email\n\xff\n", {}, "the file is not UTF-8"),
        (PEOPLE, {"template": "mail/gone"}, "the template mail/gone.txt is missing"),
        (PEOPLE, {"subject": "{{ name"}, "the subject is broken in line 1"),
        (
            PEOPLE,
            {"subject": "{{ nome }}"},
            "(line 2) cannot be rendered: the subject uses a variable that was not given: 'nome'",
        ),
        ("email\na@b.example\n", {"subject": "x"}, "the template mail/letter.txt uses a variable that was not given: 'name'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_sent_at_all_is_one_sentence(send_many: Any, outbox: Any, data: Any, options: Any, words: str) -> None:
    result = send_many(data, **options)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert result.stdout == ""
    assert outbox() == []


@pytest.mark.parametrize("path", ["/nowhere/people.csv", "/tmp"])
def test_a_file_that_is_none_is_one_sentence(app: Flask, path: str) -> None:
    result = app.test_cli_runner().invoke(args=["mail", "send-many", "mail/letter", path, "-s", "x"])
    assert result.exit_code == 2
    assert f"'{path}'" in result.stderr.splitlines()[-1]


def test_standard_input_is_read_where_the_file_is_a_hyphen(app: Flask, outbox: Any) -> None:
    arguments = ["mail", "send-many", "mail/letter", "-", "-s", SUBJECT]
    assert app.test_cli_runner().invoke(args=arguments, input=PEOPLE).exit_code == 0
    assert len(outbox()) == 2


def test_a_header_alone_is_nobody_and_no_error(send_many: Any) -> None:
    result = send_many("email;name;number\n")
    assert (result.exit_code, result.stdout.startswith("0 emails stored")) == (0, True)


def test_a_dry_run_shows_the_first_mail_and_stores_nothing(send_many: Any, app: Flask, outbox: Any) -> None:
    result = send_many(PEOPLE + "nobody;x;3\n", "--dry-run")
    assert result.exit_code == 1
    assert "to       susan@example.com\nsubject  [Flasky] Hello Susan & Söhne\n\nDear Susan & Söhne," in result.stdout
    assert "2 emails would be stored" in result.stdout
    assert outbox() == []
    assert app.extensions["mail"].bell.count == 0


@pytest.mark.parametrize(("words", "priority"), [((), BULK), (("--priority", "urgent"), URGENT)])
def test_a_sending_stands_back_unless_told_otherwise(send_many: Any, outbox: Any, words: Any, priority: int) -> None:
    send_many(PEOPLE, *words)
    assert {one.priority for one in outbox()} == {priority}


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2050-01-01T12:00+02:00", datetime(2050, 1, 1, 10, tzinfo=UTC)),
        ("2050-01-01 12:00Z", datetime(2050, 1, 1, 12, tzinfo=UTC)),
        ("2050-01-01T12:00", datetime(2050, 1, 1, 12).astimezone(UTC)),
        ("2050-01-01", datetime(2050, 1, 1).astimezone(UTC)),
    ],
)
def test_it_goes_out_when_told(send_many: Any, app: Flask, outbox: Any, given: str, moment: datetime) -> None:
    assert send_many(PEOPLE, "--send-at", given).exit_code == 0
    assert {(one.send_at, one.due_since) for one in outbox()} == {(moment, moment)}
    assert app.extensions["mail"].bell.count == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--send-at", "tomorrow"], "write it as 2026-12-24T08:00"),
        (["--priority", "high"], "'high' is not one of"),
        (["--key", ""], "the key is ''"),
        (["--key", "x" * 201], "use 1 to 200 printable characters"),
    ],
)
def test_bad_options_get_a_sentence(send_many: Any, outbox: Any, words: list[str], said: str) -> None:
    result = send_many(PEOPLE, *words)
    assert result.exit_code != 0
    assert said in result.stderr.splitlines()[-1]
    assert outbox() == []


# Headers

UNSUBSCRIBE = "List-Unsubscribe: <https://b.example/leave?n={{ number|urlencode }}>, <mailto:leave@b.example>"


def test_headers_are_rendered_and_a_list_is_named_beside_its_unsubscribe(send_many: Any, app: Flask, smtp: SmtpServer) -> None:
    one_click = "List-Unsubscribe-Post: List-Unsubscribe=One-Click"
    assert send_many(PEOPLE, "--header", UNSUBSCRIBE, "--header", one_click, "--header", "X-Name: {{ name }}").exit_code == 0
    app.test_cli_runner().invoke(args=["mail", "deliver"])
    first, second = (accepted.message for accepted in smtp.accepted)
    assert first["List-Unsubscribe"] == "<https://b.example/leave?n=1>, <mailto:leave@b.example>"
    assert second["List-Unsubscribe"] == "<https://b.example/leave?n=2>, <mailto:leave@b.example>"
    assert second["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert first["X-Name"] == "Susan & Söhne"
    assert {first["List-Id"], second["List-Id"]} == {"<mail-letter.example.com>"}


def test_a_list_id_of_one_s_own_stays_and_none_is_added_without_need(send_many: Any, outbox: Any) -> None:
    send_many(PEOPLE, "--header", UNSUBSCRIBE, "--header", "list-id: News <news.b.example>")
    send_many(PEOPLE, "--key", "again")
    first, *_, last = (one.content.source for one in outbox())
    assert first.lower().count(b"list-id:") == 1
    assert b"list-id: News <news.b.example>\r\n" in first
    assert b"list-" not in last.lower()


def test_a_dry_run_shows_the_headers(send_many: Any) -> None:
    shown = send_many(PEOPLE, "--dry-run", "--header", "X-Name: {{ name }}").stdout
    assert "subject  [Flasky] Hello Susan & Söhne\nX-Name: Susan & Söhne\n\nDear" in shown


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["X-Name"], "'X-Name': write each header once, as 'Name: value'"),
        ([": x"], "': x': write each header once"),
        (["X-A: 1", "X-A: 2"], "'X-A: 2': write each header once"),
        (["X-A: {{ nome }}"], "the header X-A uses a variable that was not given: 'nome'"),
        (["X-A: {{"], "the header X-A is broken in line 1"),
        (["X-A: a\nBcc: eve@evil.example"], "the header X-A holds a line break"),
        (["X A: 1"], "is no name for a header"),
        (["Bcc: eve@evil.example"], "extra_headers holds bcc"),
    ],
)
def test_a_header_that_cannot_be_sent_is_one_sentence(send_many: Any, outbox: Any, given: list[str], words: str) -> None:
    result = send_many(PEOPLE, *(word for header in given for word in ("--header", header)))
    assert result.exit_code != 0
    assert words in result.stderr.splitlines()[-1]
    assert outbox() == []


def test_a_line_break_in_a_cell_does_not_get_into_a_header(send_many: Any, outbox: Any) -> None:
    result = send_many(PEOPLE + 'eve@b.example;"x\nBcc: eve@evil.example";3\n', "--header", "X-Name: {{ name }}", subject="Hi")
    assert "line 4: the header X-Name holds a line break" in result.stderr
    assert len(outbox()) == 2


# Who delivers it


def test_the_bell_is_rung_for_every_chunk(app: Flask, tmp_path: Path) -> None:
    bell = app.extensions["mail"].bell
    file = write_people(tmp_path / "many.csv", 450)
    app.test_cli_runner().invoke(args=["mail", "send-many", "mail/letter", str(file), "-s", "x"])
    assert bell.count == 3


def test_inline_delivers_once_at_the_end(make_app: Callable[..., Flask], tmp_path: Path, smtp: SmtpServer) -> None:
    app = with_letter(make_app())
    file = write_people(tmp_path / "many.csv", 250)
    result = app.test_cli_runner().invoke(args=["mail", "send-many", "mail/letter", str(file), "-s", "x"])
    assert result.exit_code == 0
    assert len(smtp.accepted) == 250
    assert smtp.connections == 1


def test_a_thread_is_not_started_and_it_says_who_delivers(make_app: Callable[..., Flask], monkeypatch: Any, tmp_path: Path) -> None:
    app = with_letter(make_app(flasky_mail_dispatch="thread"))
    monkeypatch.setattr(ThreadBell, "ring", lambda self: pytest.fail("it ends with this process"))
    arguments = ["mail", "send-many", "mail/letter", "-", "-s", SUBJECT]
    result = app.test_cli_runner().invoke(args=arguments, input=PEOPLE)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "the web process delivers them; if none is running, run flask mail deliver"
    assert "web process" not in app.test_cli_runner().invoke(args=arguments, input=PEOPLE).stdout


def test_a_redis_that_is_away_does_not_matter(make_app: Callable[..., Flask]) -> None:
    app = with_letter(make_app(flasky_mail_dispatch="rq", redis_url="redis://127.0.0.1:1/0"))
    assert isinstance(app.extensions["mail"].bell, RqBell)
    result = app.test_cli_runner().invoke(args=["mail", "send-many", "mail/letter", "-", "-s", SUBJECT], input=PEOPLE)
    assert result.exit_code == 0
    assert result.stdout.startswith("2 emails stored")


def test_a_database_that_goes_away_is_one_sentence_and_says_how_far_it_came(
    app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flask_outbox.bulk.sending import Sending

    insert = Sending._insert

    def fail(self: Sending, messages: Any) -> None:
        if self.tally.stored:
            raise sa.exc.OperationalError("INSERT", {}, Exception("disk is full"))
        insert(self, messages)

    monkeypatch.setattr(Sending, "_insert", fail)
    file = write_people(tmp_path / "many.csv", 450)
    result = app.test_cli_runner().invoke(args=["mail", "send-many", "mail/letter", str(file), "-s", "x"])
    assert result.exit_code == 1
    assert result.stderr == (
        "200 emails stored; run the same command again to continue\nError: the database cannot be used: disk is full. "
        "Check that the database runs and can be reached. Once it works, delivery continues by itself.\n"
    )
