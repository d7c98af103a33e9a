"""Plain SQLAlchemy: emails join the transactions of a scoped_session."""

import os

from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from flask_outbox import Mail, send_email

engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///app.sqlite3"))
Session = scoped_session(sessionmaker(engine))


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


app = Flask(__name__)
app.config["MAIL_PORT"] = 1025
app.config["MAIL_DEFAULT_SENDER"] = "Demo <demo@example.com>"
app.config.from_prefixed_env()
mail = Mail(app, db=Session, metadata=Base.metadata)
Base.metadata.create_all(engine)


@app.teardown_appcontext
def remove_session(error):
    Session.remove()


@app.post("/users/<name>")
def add_user(name):
    Session.add(User(name=name))
    send_email("admin@example.com", "New user", "mail/new_user", name=name)
    Session.commit()
    return "added\n", 201
