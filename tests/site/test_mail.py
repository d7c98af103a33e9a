"""The site's mail: what the library sends in the site's name."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

import flasky
from flasky.mail import Message, compose, mail, send_email
from flasky.models import User
from tests.lettered import with_letter, write_people

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

    from flask_outbox.testing import SmtpServer


def test_the_module_is_not_hidden_by_the_object_in_it() -> None:
    assert isinstance(flasky.mail, ModuleType)
    assert flasky.mail is importlib.import_module("flasky.mail")


def test_the_sites_own_mail_has_the_sites_sender_and_a_plain_message_the_default_one(
    make_app: Callable[..., Flask], smtp: SmtpServer
) -> None:
    app = make_app(flasky_mail_sender="Site <site@example.com>", mail_default_sender="default@example.com")
    with app.app_context():
        assert compose("you@example.com", "Hi", "mail/new_user", user=User(username="susan")).sender == "Site <site@example.com>"
        send_email("you@example.com", "Hi", "mail/new_user", user=User(username="susan"))
        mail.send(Message("Hi", ["you@example.com"], "text"))
    assert [one.message["From"].addresses[0].addr_spec for one in smtp.wait_for(2)] == ["site@example.com", "default@example.com"]


def test_the_commands_send_from_the_site_too(make_app: Callable[..., Flask], smtp: SmtpServer, tmp_path: Path) -> None:
    app = with_letter(make_app(flasky_mail_sender="Site <site@example.com>", mail_default_sender="default@example.com"))
    file = write_people(tmp_path / "people.csv", 1)
    run = app.test_cli_runner().invoke
    for words in (
        ["send-many", "mail/letter", str(file)],
        ["send", "a@b.example", "mail/letter", "-c", "name=a", "-c", "number=1"],
    ):
        result = run(args=["mail", *words, "-s", "Hi"])
        assert result.exit_code == 0, result.output
    assert [one.message["From"] for one in smtp.wait_for(2)] == ["Site <site@example.com>"] * 2
    assert {one.sender for one in smtp.accepted} == {"site@example.com"}
