"""The desk's pages, each a module with its routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..rights import Action, may
from . import actions, audit, email, email_actions, outbox, overview, templates

if TYPE_CHECKING:
    from types import ModuleType


class Section(NamedTuple):
    """An entry of the desk's menu: its *title*, the *endpoint* it leads to, and what one must be allowed to do to see it."""

    title: str
    endpoint: str
    action: Action


SECTIONS: tuple[Section, ...] = (
    Section("Overview", ".overview", Action.LOOK),
    Section("Outbox", ".outbox", Action.LOOK),
    Section("Templates", ".templates", Action.PREVIEW),
    Section("Audit", ".audit", Action.AUDIT),
)
PAGES: tuple[ModuleType, ...] = (actions, audit, email, email_actions, outbox, overview, templates)


def sections() -> list[Section]:
    """Return the entries of the menu that the current user may see."""
    return [section for section in SECTIONS if may(section.action)]
