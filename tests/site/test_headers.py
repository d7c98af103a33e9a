"""The headers of every answer, and what they promise: nothing inline, nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flasky.config import ROOT
from tests.site.visiting import signed_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

PAGES = ["/", "/auth/sign-in", "/nothing", "/auth/sign-out", "/admin/", "/mailbox/", "/static/flasky.css"]
OWN_TEMPLATES = [
    path for path in sorted((ROOT / "templates").rglob("*.html")) if "mail" not in path.relative_to(ROOT / "templates").parts
]


def policy(answer: Any) -> dict[str, set[str]]:
    parts = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {part[0]: set(part[1:]) for part in parts}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(flasky_dev=True)


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_carries_the_headers(client: Any, path: str) -> None:
    with client.get(path) as answer:
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        rules = policy(answer)
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == {"'none'"}
    assert rules["script-src"] == rules["style-src"] == rules["form-action"] == {"'self'"}
    assert not re.search(r"unsafe|\*|https?:", headers["Content-Security-Policy"])


def test_an_answer_to_a_foreign_host_carries_them_too(client: Any) -> None:
    answer = client.get("/", headers={"Host": "evil.example"})
    assert policy(answer)["default-src"] == {"'none'"}


@pytest.mark.parametrize("host", ["LOCALHOST", "LocalHost:5000"])
def test_a_host_is_trusted_in_capitals_too(client: Any, host: str) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


def test_the_policy_is_relaxed_for_the_dashboard_alone(make_app: Callable[..., Flask], redis_url: str) -> None:
    app = make_app(redis_url=redis_url)
    admin = signed_in(app, admin=True)
    dashboard = policy(admin.get("/admin/rq/"))
    assert dashboard["script-src"] == {"'self'", "'unsafe-inline'", "'unsafe-eval'"}
    assert dashboard["default-src"] == {"'none'"}
    for path in ("/", "/admin/nothing"):
        assert policy(admin.get(path))["script-src"] == {"'self'"}


def test_pages_are_not_kept_by_caches_and_static_files_are(client: Any) -> None:
    assert client.get("/").headers["Cache-Control"] == "no-store"
    with client.get("/static/flasky.css") as answer:
        assert "no-store" not in answer.headers.get("Cache-Control", "")


@pytest.mark.parametrize(("scheme", "strict"), [("http", False), ("https", True)])
def test_https_is_asked_for_once_it_is_used(make_app: Callable[..., Flask], scheme: str, strict: bool) -> None:
    client = make_app(flasky_base_url=f"{scheme}://localhost").test_client()
    assert ("Strict-Transport-Security" in client.get("/", base_url=f"{scheme}://localhost").headers) is strict


@pytest.mark.parametrize(("proxies", "seen"), [(0, ("127.0.0.1", "http")), (1, ("203.0.113.9", "https"))])
def test_a_proxy_is_believed_only_where_the_settings_say_so(
    make_app: Callable[..., Flask], proxies: int, seen: tuple[str, str]
) -> None:
    from flask import request

    app = make_app(flasky_proxies=proxies)
    app.add_url_rule("/who", view_func=lambda: f"{request.remote_addr} {request.scheme}")
    # The first address is what the visitor claims, the last is what the proxy saw.
    claims = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    answer = app.test_client().get("/who", headers=claims)
    assert answer.text == " ".join(seen)


@pytest.mark.parametrize("path", ["/", "/auth/sign-in", "/nothing", "/mailbox/"])
def test_everything_that_a_page_loads_is_served_by_the_site(client: Any, path: str) -> None:
    page = client.get(path).text
    loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"([^\"]*)\"", page)
    assert any("bootstrap" in one or "desk.css" in one for one in loaded)
    for one in loaded:
        assert one.startswith("/"), one
        with client.get(one) as answer:
            assert answer.status_code == 200, one


@pytest.mark.parametrize("path", OWN_TEMPLATES, ids=lambda path: path.stem)
def test_a_template_has_nothing_inline_and_nothing_from_elsewhere(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", text)
    assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", text)


@pytest.mark.parametrize("path", ["/", "/auth/sign-in", "/nothing", "/mailbox/"])
def test_a_page_has_nothing_inline_that_the_policy_would_stop(client: Any, path: str) -> None:
    page = client.get(path).text
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", page)
