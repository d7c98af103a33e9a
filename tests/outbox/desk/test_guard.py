"""No page of the desk answers without the host's rule, no form without its token, and every answer carries the headers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import ConfigurationError, Mail
from flask_outbox.desk import Action, desk

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.routing import Rule

SAMPLES = {"int": "1", "string": "x", "path": "x", "default": "x"}


def desk_routes(app: Flask) -> list[Rule]:
    return [
        rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("mail_desk.") and not rule.endpoint.endswith(".static")
    ]


def sample_path(app: Flask, rule: Rule) -> str:
    values = dict.fromkeys(rule.arguments, 1)
    with app.test_request_context():
        return str(app.url_map.bind("").build(rule.endpoint, values, method=next(iter(rule.methods - {"HEAD", "OPTIONS"}))))


def test_every_page_asks_the_hosts_rule(app: Flask, client: FlaskClient, rule: Any) -> None:
    rule.denied = set(Action)
    assert desk_routes(app)
    for route in desk_routes(app):
        for method in route.methods - {"HEAD", "OPTIONS"}:
            response = client.open(sample_path(app, route), method=method)
            assert response.status_code == 403, (route, method)
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_no_form_is_taken_without_its_token(app: Flask, client: FlaskClient) -> None:
    posts = [route for route in desk_routes(app) if "POST" in route.methods]
    assert posts
    for route in posts:
        response = client.post(sample_path(app, route))
        assert response.status_code == 400, route
        assert "The form has expired" in response.text
        assert client.post(sample_path(app, route), data={"csrf_token": "wrong"}).status_code == 400


def host(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", MAIL_DELIVERY="manual", **config)
    db = SQLAlchemy(app)
    Mail(app, db)
    return app


def test_without_a_rule_the_desk_is_for_development_alone() -> None:
    with pytest.raises(ConfigurationError, match="no rule that says who may use it"):
        host(SECRET_KEY="k").register_blueprint(desk())
    host(SECRET_KEY="k", DEBUG=True).register_blueprint(desk())


def test_without_a_secret_key_the_desk_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY: set it"):
        host().register_blueprint(desk(lambda action, email: True))
