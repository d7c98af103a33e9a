"""python worker.py: the process that sends the mail."""

from __future__ import annotations

import argparse
import logging
import sys

from flask_outbox import ConfigurationError
from flasky import create_app

EPILOG = """\
The worker sends what is due at once when the site rings, and looks every few seconds by itself: for retries, for scheduled
mail, for what a killed worker left behind, and for everything while Redis is away. Run as many as you like. SIGTERM and
Ctrl-C finish the email on the wire and give the rest back, within four seconds. Its settings are the site's:
see .env.example.
"""


def main() -> None:
    """Build one app, and deliver from it until told to stop."""
    parser = argparse.ArgumentParser(description="Send the mail in the outbox.", epilog=EPILOG)
    parser.add_argument("--burst", action="store_true", help="send what is due now, then exit")
    parser.add_argument("--verbose", action="store_true", help="log every email")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        app = create_app()
        worker = app.extensions["mail"].make_worker()
    except ConfigurationError as error:
        sys.exit(str(error))
    worker.run(burst=arguments.burst)


if __name__ == "__main__":
    main()
