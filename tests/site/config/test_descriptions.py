"""The descriptions of the settings: the table in the docs and .env.example are in step with the class."""

from __future__ import annotations

import io
from dataclasses import fields

from dotenv import dotenv_values

from flask_outbox.settings import MailSettings
from flasky.config import Settings
from flasky.config.flask_keys import for_mail
from scripts.settings_table import DOCS, EXAMPLE, TABLE, example, table
from tests.site.config.reading import KEY, NAMES, problems, read


def test_every_setting_says_what_it_means_in_a_sentence() -> None:
    for one in fields(Settings):
        assert one.metadata["meaning"].endswith("."), one.name


def test_no_setting_of_the_library_is_left_out() -> None:
    assert {f"MAIL_{one.name.upper()}" for one in fields(MailSettings)} <= for_mail(read()).keys()


def test_a_problem_of_the_library_speaks_of_the_sites_variables() -> None:
    found = problems(FLASKY_MAIL_DISPATCH="rq", MAIL_MAX_EMAILS="-1")
    assert [one.split()[0] for one in found] == ["MAIL_MAX_EMAILS", "FLASKY_MAIL_DISPATCH"]
    assert "REDIS_URL is missing" in found[1]
    assert "MAIL_REDIS_URL" not in found[1]


def test_the_example_is_in_step_with_the_class() -> None:
    assert EXAMPLE.read_text() == example(), "run python -m scripts.settings_table"


def test_the_table_in_the_docs_is_in_step_with_the_class() -> None:
    assert TABLE.findall(DOCS.read_text()) == [table()], "run python -m scripts.settings_table"
    assert [row.split("`")[1] for row in table().splitlines()[2:]] == NAMES


def test_the_example_with_every_comment_taken_away_is_the_default() -> None:
    text = "\n".join(line[1:] if line.startswith("#") and line[1] != " " else line for line in example().splitlines())
    values = dotenv_values(stream=io.StringIO(text))
    assert list(values) == NAMES
    assert Settings.from_env({name: value or "" for name, value in values.items()} | {"SECRET_KEY": KEY}) == read()
