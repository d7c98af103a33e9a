"""With MAIL_DKIM_KEYS every way out signs: the outbox, a mail merge and Flask-Mail's calls, also what was stored before."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import flask_outbox
from flask_outbox import Message, compose, enqueue, send_email
from flask_outbox.message.dkim.record import generate_key, private_line, private_pem
from flask_outbox.message.dkim.signer import Signer
from flask_outbox.state import current_state
from flasky.extensions import db
from flasky.mail import mail
from flasky.models import User
from tests.outbox.verifiers import records_of, verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

    from flask_outbox.testing import SmtpServer

KEYS = [generate_key("mail", "example.com", "rsa"), generate_key("ed", "example.com", "ed25519")]
NEW = generate_key("new", "example.com", "ed25519")
RECORDS = records_of([*KEYS, NEW])
SETTING = ",".join(f"{key.selector}:{key.domain}:{private_line(key)}" for key in KEYS)


def message(*recipients: str, **values: Any) -> Message:
    return Message("Grüße", list(recipients or ["a@b.example"]), "Zoë\n.\n\n", **values)


@pytest.fixture
def signing(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Flask]:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "letter.txt").write_text("Hello {{ name }}!")
    (folder / "letter.html").write_text("<p>Hello {{ name }}!")
    app = make_app(mail_dkim_keys=SETTING, flasky_mail_dispatch="manual")
    from jinja2 import ChoiceLoader, FileSystemLoader

    app.jinja_env.loader = ChoiceLoader([FileSystemLoader(folder), app.jinja_env.loader])  # type: ignore[list-item]
    with app.app_context():
        yield app
        db.session.remove()


def merge(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("email,name\na@b.example,Zoë\n")
    arguments = ["mail", "send-many", "letter", str(tmp_path / "people.csv"), "--subject", "Hi {{ name }}"]
    result = app.test_cli_runner().invoke(
        args=[*arguments, "--header", "List-Unsubscribe: <https://example.com/{{ name|length }}>"]
    )
    assert result.exit_code == 0, result.output


def connect(app: Flask, _: Path) -> None:
    with mail.connect() as connection:
        connection.send(message())
        connection.send_message("Hi", ["a@b.example"], "text")


WAYS: dict[str, Callable[[Flask, Path], object]] = {
    "send_email": lambda *_: send_email("a@b.example", "Hi", "letter", name="Zoë"),
    "compose and enqueue": lambda *_: enqueue(compose(("Zoë", "zoë@b.example"), "Hi", "letter", name="Zoë")),
    "enqueue": lambda *_: enqueue(message("a@b.example", "c@b.example")),
    "later": lambda *_: enqueue(message(), send_at=datetime.now(UTC) - timedelta(seconds=1)),
    "flask mail send": lambda app, _: app.test_cli_runner().invoke(
        args=["mail", "send", "a@b.example", "letter", "-sHi", "-cname=x"]
    ),
    "flask mail send-many": merge,
    "mail.send": lambda *_: mail.send(message("a@b.example", "c@b.example")),
    "mail.send_message": lambda *_: mail.send_message("Hi", ["a@b.example"], "text"),
    "mail.connect": connect,
    "the extension's own send": lambda app, _: app.extensions["mail"].send(message()),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_signs(signing: Flask, smtp: SmtpServer, tmp_path: Path, way: str) -> None:
    WAYS[way](signing, tmp_path)
    mail.deliver()
    assert smtp.accepted
    for accepted in smtp.accepted:
        assert verified(accepted.source, RECORDS) == ["mail", "ed"]


def test_only_the_state_writes_so_that_no_way_can_forget_to_sign() -> None:
    package = Path(flask_outbox.__file__).parent
    writers = {
        path.name
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("message.writer")
        if "write" in {name.name for name in node.names}
    }
    # A mail merge writes its first email to see whether it can be rendered, and a preview shows what it would send.
    assert writers == {"state.py", "sending.py", "rendering.py"}


def test_it_is_signed_when_it_is_stored_and_once_for_all_recipients(signing: Flask, smtp: SmtpServer) -> None:
    emails = enqueue(message("a@b.example", "c@b.example"))
    source = emails[0].content.source
    assert verified(source or b"", RECORDS) == ["mail", "ed"]
    mail.deliver()
    assert [accepted.source for accepted in smtp.accepted] == [source, source]


def test_mail_from_another_domain_goes_out_unsigned(signing: Flask, smtp: SmtpServer) -> None:
    enqueue(message(sender="me@other.example"))
    mail.deliver()
    assert b"DKIM-Signature" not in smtp.accepted[0].source


def reconfigure(app: Flask, *keys: Any) -> None:
    object.__setattr__(current_state().smtp, "signer", Signer(keys))


def test_mail_that_waited_since_before_a_change_of_keys_is_signed_by_the_new_ones(signing: Flask, smtp: SmtpServer) -> None:
    reconfigure(signing)
    enqueue(message())
    reconfigure(signing, KEYS[0])
    enqueue(message())
    reconfigure(signing, NEW)
    enqueue(message())
    mail.deliver()
    assert [verified(accepted.source, RECORDS) for accepted in smtp.accepted] == [["new"]] * 3


def test_a_worker_without_keys_sends_what_is_stored(signing: Flask, smtp: SmtpServer) -> None:
    enqueue(message())
    reconfigure(signing)
    mail.deliver()
    assert verified(smtp.accepted[0].source, RECORDS) == ["mail", "ed"]


def test_mail_that_staging_redirects_is_signed(make_app: Callable[..., Flask], smtp: SmtpServer) -> None:
    app = make_app(mail_dkim_keys=SETTING, mail_redirect_to="qa@example.com", flasky_mail_dispatch="manual")
    with app.app_context():
        enqueue(message())
        reconfigure(app, NEW)
        mail.send(message())
        mail.deliver()
    assert [accepted.recipient for accepted in smtp.accepted] == ["qa@example.com"] * 2
    for accepted in smtp.accepted:
        assert accepted.source.startswith(b"X-Original-To: a@b.example\r\nDKIM-Signature")
        assert verified(accepted.source, RECORDS) == ["new"]


def test_the_site_s_notice_is_signed(make_app: Callable[..., Flask], smtp: SmtpServer, tmp_path: Path) -> None:
    (tmp_path / "mail.pem").write_bytes(private_pem(KEYS[0]))
    app = make_app(mail_dkim_keys=f"mail:example.com:{tmp_path / 'mail.pem'}")
    with app.app_context():
        send_email("a@b.example", "New User", "mail/new_user", user=User(username="Zoë"))
    assert verified(smtp.accepted[0].source, RECORDS) == ["mail"]
