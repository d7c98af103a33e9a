"""Links in a mail: as Flask's own url_for, except that each is absolute; and what only a request can give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from flask import Blueprint, Flask, g, get_flashed_messages, request, session
from flask import url_for as flask_url_for

from flask_outbox import InvalidMessage, Mail, compose
from flask_outbox.bulk.merge import MailMerge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = "https://www.b.example/app"


def post(number: int) -> str:
    return str(number)


def body() -> str:
    return compose("a@b.example", "Hi", "a").body or ""


@pytest.fixture
def host(tmp_path: Path) -> Callable[..., Flask]:
    """A function that makes a bare app with a template of one line; its keywords are settings."""

    def make(source: str, **settings: Any) -> Flask:
        (tmp_path / "templates").mkdir()
        for half in ("txt", "html"):
            (tmp_path / "templates" / f"a.{half}").write_text(source)
        app = Flask("host", root_path=str(tmp_path))
        app.config.update({"MAIL_DEFAULT_SENDER": "a@b.example", "MAIL_BASE_URL": BASE, "MAIL_DELIVERY": "manual"} | settings)
        app.secret_key = "a key for tests"
        Mail(app, db=sa.create_engine("sqlite://"))
        blog = Blueprint("blog", __name__, url_prefix="/blog")
        blog.add_url_rule("/", "index", body)
        blog.add_url_rule("/<int:number>", "post", post, methods=["POST"])
        blog.add_url_rule("/<int:number>/view", "post", post, methods=["GET"])
        app.register_blueprint(blog)
        app.add_url_rule("/", "index", body)
        app.add_url_rule("/<lang>/about", "about", lambda lang: "")
        return app

    return make


def in_command(app: Flask) -> str:
    with app.app_context():
        return body()


def in_request(app: Flask, path: str = "/") -> str:
    return app.test_client().get(path, base_url="http://evil.example").text


LINKS = {
    "{{ url_for('blog.index') }}": f"{BASE}/blog/",
    "{{ url_for('index', page=2) }}": f"{BASE}/?page=2",
    "{{ url_for('blog.index', _anchor='top') }}": f"{BASE}/blog/#top",
    "{{ url_for('blog.index', _anchor='a b?ä') }}": f"{BASE}/blog/#a%20b?%C3%A4",
    "{{ url_for('blog.index', _anchor='') }}": f"{BASE}/blog/#",
    "{{ url_for('blog.post', number=5, _method='POST') }}": f"{BASE}/blog/5",
    "{{ url_for('blog.post', number=5, _method='GET') }}": f"{BASE}/blog/5/view",
    "{{ url_for('index', _external=False) }}": f"{BASE}/",
    "{{ url_for('index', _scheme='http') }}": f"{BASE}/",
    "{{ url_for('about', lang='de') }}": f"{BASE}/de/about",
    "{{ url_for('static', filename='logo.png') }}": f"{BASE}/static/logo.png",
}


@pytest.mark.parametrize("source", LINKS)
def test_a_link_is_flask_s_own_and_absolute(host: Callable[..., Flask], source: str) -> None:
    app = host(source)
    assert in_command(app) == in_request(app) == LINKS[source]


@pytest.mark.parametrize(("path", "link"), [("/blog/", f"{BASE}/blog/"), ("/", f"{BASE}/")])
def test_an_endpoint_with_a_dot_is_relative_to_the_blueprint_of_the_request(
    host: Callable[..., Flask], path: str, link: str
) -> None:
    assert in_request(host("{{ url_for('.index') }}"), path) == link


def test_url_defaults_are_filled_in(host: Callable[..., Flask]) -> None:
    app = host("{{ url_for('about') }}")

    @app.url_defaults
    def add_language(endpoint: str, values: dict[str, Any]) -> None:
        if app.url_map.is_endpoint_expecting(endpoint, "lang"):
            values.setdefault("lang", g.get("lang", "en"))

    assert in_command(app) == f"{BASE}/en/about"


def test_a_handler_of_build_errors_is_asked_and_its_link_made_absolute(host: Callable[..., Flask]) -> None:
    app = host("{{ url_for('wiki', page='x', _anchor='y') }}")
    app.url_build_error_handlers.append(lambda error, endpoint, values: f"/wiki/{values['page']}#{values['_anchor']}")
    assert in_command(app) == "https://www.b.example/wiki/x#y"


@pytest.mark.parametrize("run", [in_command, in_request])
def test_a_context_processor_cannot_make_links_relative(host: Callable[..., Flask], run: Any) -> None:
    """The usual recipe for cache busting replaces url_for."""
    app = host("{{ url_for('index') }}")
    app.context_processor(lambda: {"url_for": lambda endpoint, **values: flask_url_for(endpoint, **values) + "?v=1"})
    assert run(app) == f"{BASE}/"


@pytest.mark.parametrize("within", ["command", "request"])
def test_without_a_base_url_a_link_is_an_error(host: Callable[..., Flask], within: str) -> None:
    app = host("{{ url_for('index') }}", MAIL_BASE_URL="")
    with (
        app.test_request_context() if within == "request" else app.app_context(),
        pytest.raises(InvalidMessage, match=r"links to 'index', and MAIL_BASE_URL is not set: .* must be absolute. Set it"),
    ):
        body()


# What only a request can give

NEED = ["{{ request.path }}", "{{ session.get('user') }}", "{{ get_flashed_messages() }}"]


@pytest.mark.parametrize("source", NEED)
def test_a_template_that_needs_a_request_says_so(host: Callable[..., Flask], source: str) -> None:
    app = host(source + "x")
    with pytest.raises(
        InvalidMessage, match=r"^the template a\.txt needs a request, .* in a command or a worker: Working outside .*\.$"
    ):
        in_command(app)
    assert in_request(app).endswith("x")


PROCESSORS: dict[str, Callable[[], dict[str, Any]]] = {
    "request": lambda: {"path": request.path},
    "session": lambda: {"user": session.get("user")},
    "flashed": lambda: {"messages": get_flashed_messages()},
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_context_processor_that_needs_a_request_says_so(host: Callable[..., Flask], name: str) -> None:
    app = host("x")
    app.context_processor(PROCESSORS[name])
    said = r"^a context processor of the app needs a request, and there is none in a command or a worker: Working outside .*\.$"
    with pytest.raises(InvalidMessage, match=said):
        in_command(app)
    with app.app_context(), pytest.raises(InvalidMessage, match=said):
        MailMerge("Hi", "a").compose("a@b.example", {})
    assert in_request(app) == "x"
    result = app.test_cli_runner().invoke(args=["mail", "send", "a@b.example", "a", "-s", "Hi"])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)


def test_a_context_processor_that_is_broken_is_named(host: Callable[..., Flask]) -> None:
    app = host("x")
    app.context_processor(lambda: {"size": len(None)})  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match="a context processor of the app cannot be rendered: TypeError"):
        in_command(app)


def test_any_other_error_of_the_host_stays_what_it_is(host: Callable[..., Flask]) -> None:
    app = host("x")

    def fail() -> dict[str, Any]:
        message = "the host's own"
        raise RuntimeError(message)

    app.context_processor(fail)
    with pytest.raises(RuntimeError, match="the host's own"):
        in_command(app)
