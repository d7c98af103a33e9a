"""What ``flask db`` runs: the migrations, over the app's own engine and for all of its tables, the outbox among them."""

from alembic import context
from flask import current_app
from sqlalchemy.exc import OperationalError

migrate = current_app.extensions["migrate"]


def run():
    """Run the migrations in one transaction."""
    with migrate.db.engine.connect() as connection:
        context.configure(connection=connection, target_metadata=migrate.db.metadata, **migrate.configure_args)
        with context.begin_transaction():
            context.run_migrations()


try:
    run()
except OperationalError as error:
    # Flask-Migrate prints a RuntimeError in one line.
    said = str(error.orig).strip().partition("\n")[0]
    message = f"the database cannot be used: {said}. Check DATABASE_URL"
    raise RuntimeError(message) from error
