"""The OAuth2 refresh token of one account, shared by all workers: only one process at a time exchanges it.

Some token endpoints, Microsoft's among them, return a new refresh token each time, and only the newest lasts. It is not encrypted:
the messages beside it are no less secret, and none of the library's dependencies has a cipher.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..errors import Unavailable
from .database.clock import database_now
from .database.connection import reason
from .models import oauth_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

log = logging.getLogger(__name__)

# How often to look whether another process has finished its exchange, in seconds.
LOOK_EVERY = 0.1
UNUSABLE = (sa.exc.DBAPIError, sa.exc.TimeoutError)


class StoredRefreshToken:
    """The refresh token of *account* in *engine*'s database; at first it is the *configured* one.

    A *configured* token that differs from the one before wins over the stored one: the operator has replaced it. Whoever exchanges
    the token has *seconds* for it; then the next process may.
    """

    def __init__(self, engine: Engine, account: str, configured: str, seconds: float) -> None:
        # The host's connections, but neither its echo nor an error shows the token.
        options = dict(engine.get_execution_options())
        self._engine = sa.Engine(engine.pool, engine.dialect, engine.url, hide_parameters=True, execution_options=options)
        self._account, self._seconds = account, seconds
        self._configured, self._fingerprint = configured, hashlib.sha256(configured.encode()).hexdigest()
        # A new token that could not be stored.
        self._unsaved = ""

    def exchange(self, fetch: Callable[[str], str]) -> None:
        """Call *fetch* with the refresh token while no other process does, and store the one that it returns.

        Raises Unavailable if the database cannot be used: an old token might void the newest one.
        """
        lease = secrets.token_hex(16)
        try:
            row = self._take_turn(lease)
        except UNUSABLE as error:
            message = f"the OAuth2 refresh token in the database cannot be read: {reason(error)}"
            raise Unavailable(message) from error
        is_stored = row.refresh_token and row.configured == self._fingerprint
        token = renewed = self._unsaved or (row.refresh_token if is_stored else self._configured)
        try:
            renewed = fetch(token)
        finally:
            self._end_turn(lease, renewed)

    def _take_turn(self, lease: str) -> Any:
        """Wait until no other process exchanges the token, and return its row."""
        self._insert_row()
        table = oauth_tokens.c
        while True:
            with self._engine.begin() as connection:
                now = database_now(connection)
                is_free = sa.or_(table.lease.is_(None), table.lease_until < now)
                values = {"lease": lease, "lease_until": now + timedelta(seconds=self._seconds)}
                take = sa.update(oauth_tokens).where(table.account == self._account, is_free).values(values)
                row = connection.execute(take.returning(table.configured, table.refresh_token)).one_or_none()
            if row is not None:
                return row
            time.sleep(LOOK_EVERY)

    def _insert_row(self) -> None:
        with self._engine.begin() as connection:
            is_known = sa.select(oauth_tokens.c.account).where(oauth_tokens.c.account == self._account)
            if connection.scalar(is_known) is None:
                with suppress(sa.exc.IntegrityError), connection.begin_nested():  # another process has inserted it
                    connection.execute(sa.insert(oauth_tokens).values(account=self._account, configured=self._fingerprint))

    def _end_turn(self, lease: str, token: str) -> None:
        """Store *token* if it is a new one, and let the next process take its turn."""
        values: dict[str, Any] = {"lease": None, "lease_until": None}
        self._unsaved = token if token != self._configured else ""
        mine = oauth_tokens.c.account == self._account, oauth_tokens.c.lease == lease
        try:
            with self._engine.begin() as connection:
                if self._unsaved:
                    values |= {"configured": self._fingerprint, "refresh_token": token, "renewed_at": database_now(connection)}
                connection.execute(sa.update(oauth_tokens).where(*mine).values(values))
            self._unsaved = ""
        except UNUSABLE as error:
            log.warning("the new OAuth2 refresh token is kept in memory, because it cannot be stored: %s", reason(error))
