"""RQ: a worker delivers, and Redis wakes it."""

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail, send_email

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///app.sqlite3"
app.config["MAIL_PORT"] = 1025
app.config["MAIL_DEFAULT_SENDER"] = "Demo <demo@example.com>"
app.config["MAIL_DELIVERY"] = "rq"
app.config["MAIL_REDIS_URL"] = "redis://localhost:6379/0"
app.config.from_prefixed_env()
db = SQLAlchemy(app)
mail = Mail(app)

with app.app_context():
    db.create_all()


@app.post("/users/<name>")
def add_user(name):
    send_email("admin@example.com", "New user", "mail/new_user", name=name)
    return "added\n", 201
