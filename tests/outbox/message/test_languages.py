"""A mail in the recipient's language: the closest pair of templates, and all that Flask-Babel translates and formats."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import flask_babel
import pytest
from babel import Locale
from babel.messages import Catalog, mofile
from flask import Flask
from flask_babel import Babel, get_locale, lazy_gettext
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader

from flask_outbox import InvalidMessage, Mail, compose, enqueue, send_email
from flask_outbox.bulk.merge import MailMerge
from flask_outbox.message.language import as_locale, variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORDS = {"de": {"Welcome": "Willkommen", "Hello": "Hallo"}, "de_AT": {"Welcome": "Grüß Gott", "Hello": "Servus"}}
Templates = dict[str, str]
PLAIN = {"a.txt": "{{ _('Hello') }} {{ day|dateformat('long') }} {{ url_for('page') }}", "a.html": "<p>{{ _('Hello') }}"}


def translate(folder: Path) -> None:
    """Write the catalogs, as `pybabel compile` does."""
    for locale, words in WORDS.items():
        catalog = Catalog(locale=locale)
        for word, translation in words.items():
            catalog.add(word, translation)
        path = folder / "translations" / locale / "LC_MESSAGES" / "messages.mo"
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            mofile.write_mo(file, catalog)


@pytest.fixture
def host() -> Iterator[Callable[[Templates], Flask]]:
    """A function that makes an app with these templates, and pushes its context."""
    made: list[Any] = []

    def make(templates: Templates) -> Flask:
        app = Flask("host")
        app.config |= {
            "SQLALCHEMY_DATABASE_URI": "sqlite://",
            "MAIL_DELIVERY": "manual",
            "MAIL_DEFAULT_SENDER": "me@b.example",
            "MAIL_BASE_URL": "https://b.example",
        }
        app.jinja_env.loader = DictLoader(templates)
        app.add_url_rule("/<lang>/page", "page", lambda lang: lang)
        db = SQLAlchemy(app)
        Mail(app, db)
        context = app.app_context()
        context.push()
        db.create_all()
        made.append((context, db))
        return app

    yield make
    for context, db in made:
        db.session.remove()
        db.engine.dispose()
        context.pop()


@pytest.fixture
def babel(host: Callable[[Templates], Flask], tmp_path: Path) -> Callable[[Templates], Flask]:
    """The same with Flask-Babel, whose visitor reads English, and whose links begin with the language."""

    def make(templates: Templates) -> Flask:
        app = host(templates)
        translate(tmp_path)
        app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(tmp_path / "translations")
        Babel(app, locale_selector=lambda: "en")

        @app.url_defaults
        def add_language(_: str, values: dict[str, Any]) -> None:
            values.setdefault("lang", str(get_locale()))

        @app.context_processor
        def more() -> dict[str, Any]:
            return {"day": date(2026, 12, 24), "language": str(get_locale())}

        return app

    return make


def both(name: str, text: str) -> Templates:
    return {f"{name}.txt": text, f"{name}.html": f"<p>{text}"}


@pytest.mark.parametrize(
    ("locale", "text", "subject"),
    [
        ("de", "Hallo 24. Dezember 2026 https://b.example/de/page", "Willkommen"),
        ("de-at", "Servus 24. Dezember 2026 https://b.example/de_AT/page", "Grüß Gott"),
        ("de_US", "Hallo 24. Dezember 2026 https://b.example/de/page", "Willkommen"),
        (Locale("de", "AT"), "Servus 24. Dezember 2026 https://b.example/de_AT/page", "Grüß Gott"),
        ("fr", "Hello 24 décembre 2026 https://b.example/fr/page", "Welcome"),
        (None, "Hello December 24, 2026 https://b.example/en/page", "Welcome"),
        ("", "Hello December 24, 2026 https://b.example/en/page", "Welcome"),
    ],
)
def test_words_dates_links_and_a_lazy_subject_are_in_the_recipient_s_language(
    babel: Callable[..., Flask], locale: Any, text: str, subject: str
) -> None:
    babel(PLAIN)
    message = compose("a@b.example", lazy_gettext("Welcome"), "a", locale=locale)
    assert (message.body, message.subject) == (text, subject)
    assert message.html == f"<p>{text.split(maxsplit=1)[0]}"
    assert str(get_locale()) == "en", "the caller's own language is as it was"


def test_the_caller_s_language_comes_back_after_an_error_too(babel: Callable[..., Flask]) -> None:
    babel(both("a", "{{ missing }}"))
    with pytest.raises(InvalidMessage, match="missing"):
        compose("a@b.example", "Hi", "a", locale="de")
    assert str(get_locale()) == "en"
    with flask_babel.force_locale("fr"):
        with pytest.raises(InvalidMessage):
            compose("a@b.example", "Hi", "a", locale="de")
        assert str(get_locale()) == "fr"


def test_inside_a_request_the_visitor_s_language_is_not_the_recipient_s(babel: Callable[..., Flask]) -> None:
    app = babel(both("a", "{{ _('Hello') }}"))
    with app.test_request_context("/en/page", headers={"Accept-Language": "en"}):
        assert compose("a@b.example", "Hi", "a", locale="de").body == "Hallo"
        assert compose("a@b.example", "Hi", "a").body == "Hello"


CHOICE = {
    **both("mail/a", "the usual"),
    **both("mail/a.de", "deutsch"),
    **both("mail/a.de_AT", "österreichisch"),
    **both("mail/a.zh_Hans", "简体"),
}


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("de", "deutsch"),
        ("de_AT", "österreichisch"),
        ("DE-at", "österreichisch"),
        ("de_CH", "deutsch"),
        ("de_CH_1996", "deutsch"),
        ("zh_Hans_CN", "简体"),
        ("zh-hans", "简体"),
        ("zh_Hant", "the usual"),
        ("fr", "the usual"),
        ("xx", "the usual"),
        (None, "the usual"),
    ],
)
def test_the_closest_pair_of_templates_is_taken_also_without_babel(
    host: Callable[..., Flask], locale: str | None, text: str
) -> None:
    host(CHOICE)
    message = compose("a@b.example", "Hi", "mail/a", locale=locale)
    assert (message.body, message.html) == (text, f"<p>{text}")
    assert vars(message)["template"] == "mail/a"


@pytest.mark.parametrize("missing", ["mail/a.de.txt", "mail/a.de.html", "mail/a.de_AT.txt"])
def test_a_missing_half_is_named(host: Callable[..., Flask], missing: str) -> None:
    host({name: text for name, text in CHOICE.items() if name != missing})
    with pytest.raises(InvalidMessage, match=f"the template {missing} is missing: a mail needs both halves in one language"):
        send_email("a@b.example", "Hi", "mail/a", locale="de_AT" if "AT" in missing else "de")
    assert compose("a@b.example", "Hi", "mail/a", locale="fr").body == "the usual"


def test_a_broken_template_in_a_language_is_named(host: Callable[..., Flask]) -> None:
    host({**CHOICE, "mail/a.de.html": "{% if %}"})
    with pytest.raises(InvalidMessage, match=r"the template mail/a\.de\.html is broken in line 1"):
        compose("a@b.example", "Hi", "mail/a", locale="de")


def test_neither_in_the_language_nor_at_all_is_missing(host: Callable[..., Flask]) -> None:
    host({})
    with pytest.raises(InvalidMessage, match=r"the template mail/a\.txt is missing"):
        compose("a@b.example", "Hi", "mail/a", locale="de")


@pytest.mark.parametrize(
    "locale", ["German", "d", "de/../../x", "../de", "de.txt", "de AT", "de__AT", "d\0", 5, ["de"], b"de", "ä"]
)
def test_what_is_no_locale_is_told(host: Callable[..., Flask], locale: Any) -> None:
    host(CHOICE)
    with pytest.raises(InvalidMessage, match=r"locale is .+: give a language such as 'de'") as raised:
        compose("a@b.example", "Hi", "mail/a", locale=locale)
    assert str(raised.value).isprintable()


def test_a_language_that_babel_does_not_know_is_told(babel: Callable[..., Flask]) -> None:
    babel(CHOICE)
    with pytest.raises(InvalidMessage, match="locale is 'xx_DE', and Babel knows no such language"):
        compose("a@b.example", "Hi", "mail/a", locale="xx_DE")


def test_a_template_sees_the_locale_as_the_variable_that_it_is(babel: Callable[..., Flask]) -> None:
    babel(both("a", "{{ locale }} {{ language }}"))
    message = compose("a@b.example", "Hi", "a", locale="de-at")
    assert message.body == "de-at de_AT"
    assert vars(message)["context"] == {"locale": "de-at"}


def test_what_is_stored_is_in_the_language(babel: Callable[..., Flask]) -> None:
    babel({**PLAIN, **both("a.de", "Hallo auf Deutsch")})
    email = send_email("a@b.example", lazy_gettext("Welcome"), "a", locale="de")
    assert email.subject == "Willkommen"
    assert b"Hallo auf Deutsch" in (email.content.source or b"")
    (late,) = enqueue(compose("a@b.example", lazy_gettext("Welcome"), "a", locale="de_AT"))
    assert late.subject == "Grüß Gott"


def test_a_mail_merge_writes_to_each_in_his_own_language(babel: Callable[..., Flask]) -> None:
    babel({**both("a", "{{ _('Hello') }}"), **both("a.fr", "Bonjour")})
    merge = MailMerge("{{ _('Welcome') }}, {{ name }}", "a", {"X-Day": "{{ day|dateformat('long') }}"})
    found = []
    for locale in ("de", "", "fr", "de_AT", "de"):
        message = merge.compose("a@b.example", {"name": "Zoë", "locale": locale})
        found.append((message.subject, message.body, (message.extra_headers or {})["X-Day"]))
    german = ("Willkommen, Zoë", "Hallo", "24. Dezember 2026")
    assert found == [
        german,
        ("Welcome, Zoë", "Hello", "December 24, 2026"),
        ("Welcome, Zoë", "Bonjour", "24 décembre 2026"),
        ("Grüß Gott, Zoë", "Servus", "24. Dezember 2026"),
        german,
    ]
    with pytest.raises(InvalidMessage, match="locale is 'German'"):
        merge.compose("a@b.example", {"name": "Zoë", "locale": "German"})


@pytest.mark.parametrize(
    ("given", "locale", "kinds"),
    [
        ("de", "de", ["de"]),
        ("PT-br", "pt_BR", ["pt_BR", "pt"]),
        ("ZH_hans_cn", "zh_Hans_CN", ["zh_Hans_CN", "zh_Hans", "zh"]),
        ("es-419", "es_419", ["es_419", "es"]),
        ("ca_ES_VALENCIA", "ca_ES_VALENCIA", ["ca_ES_VALENCIA", "ca_ES", "ca"]),
        (None, "", []),
    ],
)
def test_a_locale_has_one_form_and_its_kinds_are_in_order(given: Any, locale: str, kinds: list[str]) -> None:
    assert as_locale(given) == locale
    assert variants(locale) == kinds
