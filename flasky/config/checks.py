"""Checks that involve several settings, and checks of required ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flasky.config import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flasky.config.settings import Settings

# Nobody can guess 16 random characters; a word is easy to guess, repeated or not.
SHORTEST_SECRET = 16
FEWEST_CHARACTERS = 8
PLACEHOLDER = re.compile(r"change.?(me|this)|replace.?(me|this)|your.?(own.?)?secret|secret.?key|insecure", re.IGNORECASE)
MAKE_SECRET = "make one with python -c 'import secrets; print(secrets.token_hex(32))'"  # noqa: S105 - the command, not a secret


def problems(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each invalid setting or combination."""
    if not settings.flasky_dev:
        yield from _secret_problems(settings.secret_key)
    elif not kinds.is_loopback(kinds.split(settings.base_url).hostname or ""):
        yield "FLASKY_DEV is on, and FLASKY_BASE_URL is not on this machine, so everybody could read the mailbox: turn it off"
    if not settings.flasky_mail_sender:
        yield "FLASKY_MAIL_SENDER is empty: mail needs a sender"
    if not settings.mail_server:
        yield "MAIL_SERVER is empty: mail needs a server"


def _secret_problems(key: str) -> Iterator[str]:
    if not key:
        yield f"SECRET_KEY is missing: {MAKE_SECRET}"
    elif len(key) < SHORTEST_SECRET:
        yield f"SECRET_KEY is shorter than {SHORTEST_SECRET} characters: {MAKE_SECRET}"
    elif len(set(key)) < FEWEST_CHARACTERS or PLACEHOLDER.search(key):
        yield f"SECRET_KEY is easy to guess: {MAKE_SECRET}"
