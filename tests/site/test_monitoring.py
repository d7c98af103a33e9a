"""The site's metrics and health at /-/: for this machine, and for FLASKY_METRICS_TOKEN."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

TOKEN = "a-token-for-tests-alone"
STRANGER = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.mark.parametrize("page", ["metrics", "healthz", "readyz"])
def test_the_site_tells_this_machine_and_who_has_the_token(make_app: Callable[..., Flask], page: str) -> None:
    client = make_app(flasky_metrics_token=TOKEN).test_client()
    assert client.get(f"/-/{page}").status_code == 200
    assert client.get(f"/-/{page}", environ_base=STRANGER).status_code == 403
    answer = client.get(f"/-/{page}", environ_base=STRANGER, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert "Content-Security-Policy" in answer.headers


def test_without_a_token_strangers_stay_outside(make_app: Callable[..., Flask]) -> None:
    client = make_app().test_client()
    for value in ("Bearer", "Bearer "):
        assert client.get("/-/metrics", environ_base=STRANGER, headers={"Authorization": value}).status_code == 403


def test_a_visitor_behind_the_sites_proxy_is_no_local_one(make_app: Callable[..., Flask]) -> None:
    client = make_app(flasky_proxies=1).test_client()
    assert client.get("/-/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 403
