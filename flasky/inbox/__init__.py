"""The development mailbox: an SMTP server that stores all mail, and the library's pages to read it. Never in production."""

from flask import Flask

from flask_outbox.desk import mailbox

# The Maildir, inside the instance folder.
FOLDER = "mailbox"


def init_app(app: Flask) -> None:
    """Register the pages, in development only."""
    if app.config["FLASKY_DEV"]:
        app.register_blueprint(mailbox(FOLDER, home="main.index", development=True), url_prefix="/mailbox")
