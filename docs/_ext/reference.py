"""A Sphinx extension: describe settings and commands from the code, so that the pages cannot disagree with it.

``{settings} server port`` describes these fields of ``MailSettings``; ``{command} list`` describes ``flask mail list``. A setting
or command that no page describes is a warning, as is a name that does not exist.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, ClassVar

import click
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from flask_outbox import Mail
from flask_outbox.settings import MailSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docutils import nodes
    from sphinx.application import Sphinx

log = logging.getLogger(__name__)

PREFIX = "MAIL_"


def settings() -> dict[str, Any]:
    """Return the fields of ``MailSettings`` by name."""
    return {setting.name: setting for setting in fields(MailSettings)}


def commands() -> dict[str, click.Command]:
    """Return the commands of ``flask mail`` by name, as an app has them."""
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", MAIL_DELIVERY="manual")
    Mail().init_app(app, SQLAlchemy(app))
    group: Any = app.cli.commands["mail"]
    commands: dict[str, click.Command] = group.commands
    return commands


def written(value: Any) -> str:
    """Return a default as one writes it into the environment; empty if there is none."""
    match value:
        case None:
            return ""
        case bool():
            return "on" if value else "off"
        case timedelta():
            return f"{value.days} days"
        case tuple():
            return ",".join(value)
        case float():
            return f"{value:g}"
    return str(value)


class Describe(SphinxDirective):
    """Describes the things that its arguments name, and remembers that they are described."""

    required_arguments = 1
    final_argument_whitespace = True
    kind: ClassVar[str]

    def run(self) -> list[nodes.Node]:
        """Return the description of each name."""
        return [node for name in self.arguments[0].split() for node in self._describe(name)]

    def _describe(self, name: str) -> list[nodes.Node]:
        found = KNOWN[self.kind]().get(name)
        if found is None:
            log.warning("there is no %s %r", self.kind, name, location=self.get_location())
            return []
        described(self.env)[self.kind].setdefault(name, self.env.current_document.docname)
        return self.parse_text_to_nodes("\n".join(self.lines(name, found)))

    def lines(self, name: str, found: Any) -> Iterable[str]:
        """Return the description in Markdown."""
        raise NotImplementedError


class Settings(Describe):
    """``{settings} server port``: key, default and meaning."""

    kind = "setting"

    def lines(self, name: str, found: Any) -> Iterable[str]:
        """Return a ``confval``, which other pages can refer to."""
        default = written(found.default)
        yield f"```{{confval}} {PREFIX}{name.upper()}"
        if default:
            yield f":default: `{default}`"
        yield from ("", found.metadata["meaning"], "```")


class Command(Describe):
    """``{command} list``: usage, help and options."""

    kind = "command"

    def lines(self, name: str, found: click.Command) -> Iterable[str]:
        """Return what ``flask mail NAME --help`` says."""
        context = click.Context(found, info_name=f"flask mail {name}")
        usage = " ".join([context.command_path, *found.collect_usage_pieces(context)])
        yield from ("```console", f"$ {usage}", "```", "", _escaped(cleandoc(found.help or "")), "")
        for option in found.params:
            record = option.get_help_record(context)
            if record is not None and record[1]:
                yield from (f"`{record[0]}`", f": {_escaped(record[1])}", "")


def _escaped(text: str) -> str:
    """Return *text* without what Markdown would take for markup."""
    return text.replace("\b\n", "").replace("[", r"\[").replace("]", r"\]").replace("{", r"\{").replace("<", r"\<")


KNOWN = {"setting": settings, "command": commands}


def described(env: Any) -> dict[str, dict[str, str]]:
    """Return what has been described, and on which page."""
    if not hasattr(env, "outbox_described"):
        env.outbox_described = {kind: {} for kind in KNOWN}
    return env.outbox_described  # type: ignore[no-any-return]


def check(app: Sphinx, env: Any) -> None:
    """Warn about what no page describes."""
    for kind, known in KNOWN.items():
        for name in sorted(set(known()) - set(described(env)[kind])):
            log.warning("no page describes the %s %r", kind, name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("settings", Settings)
    app.add_directive("command", Command)
    app.connect("env-check-consistency", check)
    return {"version": "1", "parallel_read_safe": False}
