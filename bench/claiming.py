"""Times a claim of what is due, and its release: ``python -m bench.claiming TIMES`` prints milliseconds a claim."""

from __future__ import annotations

import sys
import time

from flask_outbox.store.outbox import Outbox
from flasky import create_app
from flasky.extensions import db


def main(times: int) -> None:
    """Claim and release so often; the first claim, which opens the connection, does not count."""
    app = create_app()
    with app.app_context():
        outbox = Outbox(db.engine, "bench")
        for number in range(times + 1):
            begun = time.perf_counter()
            batch = outbox.claim()
            took = time.perf_counter() - begun
            if batch is None:
                sys.exit("nothing was due")
            outbox.release(batch)
            if number:
                print(took * 1000)
        outbox.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
