"""The recipient's language: what a locale is, which templates are for it, and Flask-Babel while one of them is rendered."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from ..errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from flask import Flask

# RFC 5646, 2.1: a language, and maybe a script, a region and a variant; gettext and Babel write an underscore between them.
LOCALE = re.compile(
    r"[a-z]{2,3}([_-][a-z]{4})?([_-]([a-z]{2}|[0-9]{3}))?([_-]([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))?", re.IGNORECASE | re.ASCII
)
LANGUAGE, SCRIPT = re.compile(r"[a-z]{2,3}"), re.compile(r"[a-z]{4}")


def as_locale(value: Any) -> str:
    """Return a locale as Babel writes it, such as ``de``, ``de_AT`` or ``zh_Hans_CN``, from that or ``de-at``.

    Without one, None or an empty string, it returns an empty string. Raises InvalidMessage for anything else.
    """
    text = "" if value is None else str(value)
    if not text:
        return ""
    if not LOCALE.fullmatch(text):
        message = f"locale is {text!r:.100}: give a language such as 'de', or a language and a region such as 'de_AT'"
        raise InvalidMessage(message)
    language, *others = re.split("[_-]", text.lower())
    return "_".join([language, *(other.title() if SCRIPT.fullmatch(other) else other.upper() for other in others)])


def variants(locale: str) -> list[str]:
    """Return *locale* and what it is a kind of, the closest first: ``zh_Hans_CN``, ``zh_Hans``, ``zh``."""
    parts = locale.split("_")
    return ["_".join(parts[:number]) for number in range(len(parts), 0, -1)] if locale else []


@contextmanager
def in_language(app: Flask, locale: str) -> Iterator[None]:
    """Let Flask-Babel translate to *locale* and format for it inside the block, if *app* has it; an empty one changes nothing."""
    if not locale or "babel" not in app.extensions:
        yield
        return
    with _forced(locale):
        yield


def _forced(locale: str) -> AbstractContextManager[None]:
    """Return Flask-Babel's ``force_locale`` for the closest kind of *locale* that Babel knows: for ``de_US`` that is ``de``."""
    try:
        from babel.core import Locale, UnknownLocaleError  # noqa: PLC0415 - optional: the host brings Flask-Babel, or does not
        from flask_babel import force_locale  # noqa: PLC0415 - as above
    except ImportError:
        # Another extension has the name.
        return nullcontext()
    for variant in variants(locale):
        with suppress(UnknownLocaleError, ValueError):
            forced: AbstractContextManager[None] = force_locale(str(Locale.parse(variant)))
            return forced
    message = f"locale is {locale!r}, and Babel knows no such language: give one such as 'de' or 'de_AT'"
    raise InvalidMessage(message)
