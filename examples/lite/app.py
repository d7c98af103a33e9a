"""Flask-SQLAlchemy-Lite: it does not know your tables, so Mail is told their metadata."""

from flask import Flask
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_outbox import Mail, send_email


class Model(DeclarativeBase):
    pass


class User(Model):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


app = Flask(__name__)
app.config["SQLALCHEMY_ENGINES"] = {"default": "sqlite:///app.sqlite3"}
app.config["MAIL_PORT"] = 1025
app.config["MAIL_DEFAULT_SENDER"] = "Demo <demo@example.com>"
app.config.from_prefixed_env()
db = SQLAlchemy(app)
mail = Mail(app, metadata=Model.metadata)

with app.app_context():
    Model.metadata.create_all(db.engine)


@app.post("/users/<name>")
def add_user(name):
    db.session.add(User(name=name))
    send_email("admin@example.com", "New user", "mail/new_user", name=name)
    db.session.commit()
    return "added\n", 201
