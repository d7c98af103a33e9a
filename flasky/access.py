"""gunicorn's own logs as JSON: its errors, and one line for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gunicorn.glogging import Logger

from flask_outbox import JsonFormatter

if TYPE_CHECKING:
    from datetime import timedelta


class JsonLogger(Logger):  # type: ignore[misc] # gunicorn carries no types
    """Writes what gunicorn logs as JSON. A request's line has the id that its emails have; it leaves out the query."""

    def setup(self, cfg: Any) -> None:
        """Set gunicorn's handlers up, and format them."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            for handler in log.handlers:
                handler.setFormatter(JsonFormatter())

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Log one request."""
        extra = {
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": int(str(resp.status).split(maxsplit=1)[0]),
            "seconds": round(request_time.total_seconds(), 6),
            "address": environ.get("REMOTE_ADDR"),
        }
        if "flask_outbox.request_id" in environ:
            extra["request_id"] = environ["flask_outbox.request_id"]
        self.access_log.info("%(method)s %(path)s %(status)d", extra, extra=extra)
