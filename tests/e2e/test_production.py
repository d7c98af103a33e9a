"""The site as it is deployed: its Procfile, PostgreSQL, gunicorn, and a mail server that is not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests

from tests.e2e.checkout import give_up
from tests.e2e.postfix import Postfix, why_not
from tests.servers import Process, Visitor, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from email.message import EmailMessage

    from tests.e2e.checkout import Checkout
    from tests.servers import Site


def defects(message: EmailMessage) -> list[object]:
    """Return everything that the parser found wrong, in the parts and in their headers."""
    found = [defect for part in message.walk() for defect in part.defects]
    return found + [defect for part in message.walk() for value in part.values() for defect in value.defects]


def test_mail_from_the_production_procfile_arrives_whole_through_postfix(
    checkout: Checkout, site: Callable[..., Site], postgres_url: str, redis_url: str
) -> None:
    reason = why_not()
    if reason:
        give_up(reason)
    with Postfix() as postfix:
        house = site(DATABASE_URL=postgres_url, REDIS_URL=redis_url, MAIL_SERVER="127.0.0.1", MAIL_PORT=postfix.port)
        log = house.folder / "honcho.log"
        # Not all of it at once: honcho stops everything when one process ends, and `release` ends.
        release = Process(["honcho", "start", "release"], log, house.env, checkout.folder)
        assert release.popen.wait(30) == 0, release.output
        honcho = Process(["honcho", "start", "web", "worker"], log, house.env, checkout.folder)
        try:
            wait_until(house.answers, 20, "the site")
            visitor = Visitor(house.url)
            for count, name in enumerate(("susan", "Zoë 智子"), 1):
                assert "Pleased to meet you!" in visitor.type_name(name).text
                message = postfix.wait_for(count)[-1]
                assert defects(message) == []
                assert (message["To"], message["Subject"]) == ("admin@example.com", "[Flasky] New User")
                assert message["From"].addresses[0].display_name == "Flasky Admin"
                assert message["Return-Path"] == "<flasky@example.com>"
                for kind in ("plain", "html"):
                    assert name in message.get_body((kind,)).get_content()
            visitor.close()
            assert "reject" not in postfix.log
            assert requests.get(f"{house.url}/mailbox/", timeout=5).status_code == 404
        finally:
            code = honcho.stop()
        assert code == 143, honcho.output
        assert "SIGKILL" not in honcho.output
        wait_until(lambda: not checkout.processes(), 2, "the end of all")
