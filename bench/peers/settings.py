"""Django's settings for django-post_office and django-mailer, which need little more than a database and a server."""

from __future__ import annotations

import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from bench import letter

SECRET_KEY = os.environ["SECRET_KEY"]
INSTALLED_APPS = ["django.contrib.contenttypes", "post_office", "mailer"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DEFAULT_FROM_EMAIL = letter.SENDER
EMAIL_HOST = os.environ["MAIL_SERVER"]
EMAIL_PORT = int(os.environ["MAIL_PORT"])
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "DIRS": [letter.TEMPLATES]}]
_url = os.environ["DATABASE_URL"]


def _sqlite(path: str) -> dict[str, Any]:
    # Write-ahead logging, as Flasky has it: django-mailer notes each email in a commit of its own, and gains by it.
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": path, "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"}}


def _postgres(url: str) -> dict[str, Any]:
    parts = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return {"ENGINE": "django.db.backends.postgresql"} | {ours: parts.get(theirs) or "" for ours, theirs in names.items()}


DATABASES = {"default": _sqlite(_url.removeprefix("sqlite:///")) if _url.startswith("sqlite:") else _postgres(_url)}
