"""MAIL_INLINE_CSS: the CSS of <style> in style attributes, and nothing fetched."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from flask_outbox import MailSettings, compose
from flask_outbox.bulk.merge import MailMerge
from flask_outbox.extension import _package_problems
from flask_outbox.message.inline import inline_css

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

STYLED = "<html><head><style>p{color:red} @media print{p{color:black}}</style></head><body><p>Hello {{ name }}</p></body></html>"


@pytest.fixture
def styled(make_app: Callable[..., Flask], tmp_path: Path) -> Callable[..., Flask]:
    """A function that makes an app with the mail "styled"; its keywords are settings."""
    from jinja2 import ChoiceLoader, DictLoader

    def make(**settings: Any) -> Flask:
        app = make_app(**settings)
        app.jinja_env.loader = ChoiceLoader([DictLoader({"styled.txt": "Hi", "styled.html": STYLED}), app.jinja_env.loader])
        return app

    return make


def test_css_moves_into_the_elements_and_rules_that_cannot_stay(styled: Callable[..., Flask]) -> None:
    with styled(mail_inline_css=True).app_context():
        html = compose("a@example.com", "Hi", "styled", name="Zoë & Co").html
        merged = MailMerge("Hi", "styled").compose("a@example.com", {"name": "Zoë & Co"}).html
    assert '<p style="color: red;">Hello Zoë &amp; Co</p>' in html
    assert "@media print{p{color:black}}" in html
    assert "p{color:red}" not in html
    assert merged == html


def test_by_default_html_stays_as_it_is(styled: Callable[..., Flask]) -> None:
    with styled().app_context():
        assert compose("a@example.com", "Hi", "styled", name="x").html == STYLED.replace("{{ name }}", "x")


def test_html_without_style_stays_as_it_is() -> None:
    assert inline_css("<p>Hello") == "<p>Hello"


def test_a_stylesheet_elsewhere_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sheet = tmp_path / "a.css"
    sheet.write_text("p{color:green}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.css"
        html = inline_css(
            f'<link rel="stylesheet" href="{url}"><link rel="stylesheet" href="file://{sheet}"><style>b{{}}</style><p>a'
        )
        with pytest.raises(TimeoutError):
            server.accept()
    assert "green" not in html


def test_broken_css_breaks_nothing() -> None:
    for css in ("}}}{{{", "p{color:", "@media{", "p{color:red}</style><style>@", "*{a:b", "::::{}"):
        assert "Hello" in inline_css(f"<style>{css}</style><p>Hello</p>")


def test_without_the_package_a_problem_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_outbox.extension.find_spec", lambda name: None if name == "css_inline" else object())
    problems = list(_package_problems(MailSettings(inline_css=True)))
    assert problems == ["MAIL_INLINE_CSS is on, and css-inline is not installed: pip install flask-outbox[inline]"]
    assert list(_package_problems(MailSettings())) == []
