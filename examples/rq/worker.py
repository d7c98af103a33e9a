"""The worker process: `python worker.py`, as many as you like."""

from app import app

app.extensions["mail"].make_worker().run()
