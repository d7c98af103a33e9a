"""python worker.py: the process that delivers mail."""

from __future__ import annotations

import argparse
import logging
import sys

from flask_outbox import ConfigurationError
from flasky import create_app

EPILOG = """\
The worker delivers due mail as soon as the site rings the bell. Every few seconds it also checks the database: for retries,
scheduled mail, mail of a killed worker, and everything while Redis is down. On PostgreSQL several workers may run, on SQLite
one is enough. SIGTERM and Ctrl-C finish the email that is being transmitted and release the others, within four seconds. The
settings are the site's: see .env.example.
"""


def main() -> None:
    """Create the app and deliver its mail until told to stop."""
    parser = argparse.ArgumentParser(description="Deliver the mail in the outbox.", epilog=EPILOG)
    parser.add_argument("--burst", action="store_true", help="deliver due mail, then exit; with code 1 if that is impossible")
    parser.add_argument("--verbose", action="store_true", help="log every email")
    arguments = parser.parse_args()
    try:
        app = create_app()
        # After the app, which may have chosen JSON. Then there is a handler, and basicConfig() does nothing.
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger().setLevel(logging.DEBUG if arguments.verbose else logging.INFO)
        worker = app.extensions["mail"].make_worker()
    except ConfigurationError as error:
        sys.exit(str(error))
    sys.exit(worker.run(burst=arguments.burst) or 0)


if __name__ == "__main__":
    main()
