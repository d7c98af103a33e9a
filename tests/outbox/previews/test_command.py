"""``flask mail lint``: a line for each finding, and an exit code for CI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask_outbox.previews.lint.wording import AUTOESCAPE
from flask_outbox.state import current_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

PAGE = '<html lang="en"><title>Hi</title><body>{}</body></html>'


def test_the_mails_of_the_site_are_clean(lint: Any) -> None:
    result = lint("--strict")
    assert (result.exit_code, result.output) == (0, "1 mail, 3 variants: 0 errors, 0 warnings, 3 notes\n")


def test_an_error_is_one_line_that_says_where_and_what_to_do(lint: Any, write: Callable[..., None]) -> None:
    write("mail/bad", "Hello\nFish &amp; Chips", PAGE.format("Hello"), 'subject = "Bad"\ndef default(): return {}')
    result = lint("mail/bad")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"mail/bad (default), text, line 2: error: the reader sees &amp;. {AUTOESCAPE}",
        "1 mail, 1 variant: 1 error, 0 warnings, 0 notes",
    ]


def test_warnings_fail_only_in_strict_mode_and_notes_are_shown_if_asked_for(lint: Any, write: Callable[..., None]) -> None:
    body = '<p style="display:flex; border-radius:4px">Hello</p>'
    write("mail/flex", "Hello", PAGE.format(body), 'subject = "Flex"\ndef default(): return {}')
    assert lint("mail/flex").exit_code == 0
    assert lint("mail/flex", "--strict").exit_code == 1
    assert "css-border-radius" not in lint("mail/flex").output
    assert "css-border-radius" in lint("mail/flex", "--notes").output


def test_a_finding_can_be_accepted(lint: Any, write: Callable[..., None]) -> None:
    sample = 'accepted = ["css-display-flex"]\nsubject = "Flex"\ndef default(): return {}'
    write("mail/flex", "Hello", PAGE.format('<p style="display:flex">Hello</p>'), sample)
    assert lint("mail/flex", "--strict").exit_code == 0


def test_a_mail_without_sample_data_is_rendered_with_nothing_or_says_what_to_create(lint: Any, write: Callable[..., None]) -> None:
    write("mail/plain", "Hello", PAGE.format("Hello"))
    write("mail/named", "Hello {{ name }}", PAGE.format("Hello {{ name }}"))
    assert lint("mail/plain", "--strict").exit_code == 0
    result = lint("mail/named")
    assert result.exit_code == 1
    assert "uses a variable that was not given: 'name' is undefined. There is no sample data: create " in result.output
    assert "mail/named.py with def default(): return {...}." in result.output


def test_a_missing_half_is_an_error(lint: Any, write: Callable[..., None]) -> None:
    write("mail/half", text=None)
    assert "the template mail/half.txt is missing" in lint("mail/half").output


def test_an_empty_subject_is_an_error(lint: Any, write: Callable[..., None]) -> None:
    write("mail/x", "Hello", PAGE.format("Hello"), "def default(): return {}")
    assert "the subject is empty" in lint("mail/x").output


def test_json_has_every_finding(lint: Any, write: Callable[..., None]) -> None:
    write("mail/bad", "Hello {{ '{{' }}", PAGE.format("Hello"), 'subject = "Bad"\ndef default(): return {}')
    result = lint("mail/bad", "--json")
    assert result.exit_code == 1
    (finding,) = json.loads(result.output)["findings"]
    assert finding | {"what": "", "remedy": ""} == {
        "mail": "mail/bad",
        "variant": "default",
        "level": "error",
        "rule": "unrendered",
        "half": "text",
        "line": 1,
        "what": "",
        "remedy": "",
        "source": "",
    }


def test_an_app_without_mails_is_an_error_because_ci_would_check_nothing(lint: Any, quiet: Flask) -> None:
    object.__setattr__(current_state().settings, "template_folder", "letters")
    result = lint()
    assert result.exit_code == 1
    assert "no template folder of the app has a mail below letters/: set MAIL_TEMPLATE_FOLDER" in result.output
    assert "there is no mail 'x'" in lint("x").output


def test_nothing_is_left_in_the_template_folder(lint: Any, write: Callable[..., None], tmp_path: Any) -> None:
    write("mail/x", "Hello", PAGE.format("Hello"), 'subject = "X"\ndef default(): return {}')
    assert lint("mail/x").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "templates" / "mail").iterdir()) == ["x.html", "x.py", "x.txt"]
