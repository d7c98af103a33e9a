"""JSON logs for a host that wants them: one object a line, with the ids of the email and of the request."""

from __future__ import annotations

import json
import logging
import socket
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from flask import has_request_context
from flask.logging import default_handler

from .events import log as events
from .origin import current_request_id

if TYPE_CHECKING:
    from flask import Flask

LIBRARY = str(__package__)
# What every record has; the rest was given by ``extra=``.
COMMON = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time (UTC), level, logger, message, process, and what ``extra=`` gave.

    ``request_id`` is that of the record, which for a line about an email is the request that enqueued it, or else of the request
    that is being served.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            # The name of a worker, as attempts have it.
            "process": f"{_host()}:{record.process}",
        }
        document |= {name: value for name, value in vars(record).items() if name not in COMMON}
        if "request_id" not in document and has_request_context():
            document["request_id"] = current_request_id()
        if record.exc_info:
            document["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            document["stack"] = record.stack_info
        # In ASCII, so that no character of a stranger ends the line.
        return json.dumps(document, default=str)


@cache
def _host() -> str:
    return socket.gethostname()


def json_logs(app: Flask) -> None:
    """Write the logs of this process as JSON, to standard error, or wherever the root logger's handlers write.

    Call it before the app logs anything. It also logs each email that is enqueued or accepted, and gives each request its id.
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    for handler in root.handlers:
        handler.setFormatter(JsonFormatter())
    # Flask's own handler would write each line once more, as text.
    app.logger.removeHandler(default_handler)
    if logging.getLogger(LIBRARY).level == logging.NOTSET:
        logging.getLogger(LIBRARY).setLevel(logging.INFO)
    events.setLevel(logging.DEBUG)
    app.before_request(_name_request)


def _name_request() -> None:
    current_request_id()
