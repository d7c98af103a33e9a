"""A Celery of your own: its worker delivers, woken after each commit and once a minute."""

from celery import Celery, Task
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_outbox import Mail, send_email

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///app.sqlite3"
app.config["CELERY"] = {"broker_url": "redis://localhost:6379/0", "task_ignore_result": True}
app.config["MAIL_PORT"] = 1025
app.config["MAIL_DEFAULT_SENDER"] = "Demo <demo@example.com>"
app.config.from_prefixed_env()
db = SQLAlchemy(app)


class FlaskTask(Task):  # as Flask's documentation has it
    def __call__(self, *args, **kwargs):
        with app.app_context():
            return self.run(*args, **kwargs)


celery = Celery(app.name, task_cls=FlaskTask)
celery.config_from_object(app.config["CELERY"])


@celery.task(name="deliver_mail")
def deliver_mail():
    mail.deliver()


mail = Mail(app, bell=deliver_mail.delay)
# Retries and scheduled mail; start the worker with `celery -A app:celery worker -B`.
celery.conf.beat_schedule = {"deliver mail": {"task": "deliver_mail", "schedule": 60}}
# A broker that is down delays the request by this much, and the email until the next minute.
celery.conf.task_publish_retry_policy = {"max_retries": 1, "interval_start": 0.1}

with app.app_context():
    db.create_all()


@app.post("/users/<name>")
def add_user(name):
    send_email("admin@example.com", "New user", "mail/new_user", name=name)
    return "added\n", 201
