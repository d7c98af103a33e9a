"""gunicorn's settings; every number comes from the environment (see .env.example)."""

import os
import sys

from flasky.config import ConfigurationError, Settings

try:
    settings = Settings.from_env()
except ConfigurationError as error:
    sys.exit(str(error))

bind = f"{'127.0.0.1' if settings.flasky_dev else '0.0.0.0'}:{settings.port}"  # noqa: S104 - visitors come from everywhere
workers = settings.web_concurrency
threads = settings.web_threads
timeout = settings.web_timeout
# honcho kills after five seconds.
graceful_timeout = 4
accesslog = "-"
if settings.flasky_log_format == "json":
    logger_class = "flasky.access.JsonLogger"
control_socket_disable = True
reload = settings.flasky_dev
# A heartbeat file on a slow disk would block a worker: keep it in memory if possible.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def post_worker_init(worker):  # noqa: ANN001, ANN201 - gunicorn's hook
    """Deliver what an earlier process left behind, without waiting for the first request."""
    mail = worker.wsgi.extensions["mail"]
    if mail.delivers_here:
        mail.ring()
