"""The smallest app: Flask-SQLAlchemy, and a background thread that delivers."""

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail, send_email

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///app.sqlite3"
app.config["MAIL_PORT"] = 1025
app.config["MAIL_DEFAULT_SENDER"] = "Demo <demo@example.com>"
app.config.from_prefixed_env()  # FLASK_MAIL_PORT=2525 overrides the port
db = SQLAlchemy(app)
mail = Mail(app)


class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80))


with app.app_context():
    db.create_all()  # your tables, and those of the outbox


@app.post("/users/<name>")
def add_user(name):
    db.session.add(User(name=name))
    send_email("admin@example.com", "New user", "mail/new_user", name=name)
    db.session.commit()  # stores both, or neither
    return "added\n", 201
