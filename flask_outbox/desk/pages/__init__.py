"""The desk's pages, each a module with its routes."""

from __future__ import annotations

from typing import NamedTuple

from ..rights import Action, may
from . import actions, audit, outbox


class Section(NamedTuple):
    """An entry of the desk's menu: its *title*, the *endpoint* it leads to, and what one must be allowed to do to see it."""

    title: str
    endpoint: str
    action: Action


SECTIONS = (
    Section("Outbox", ".outbox", Action.LOOK),
    Section("Audit", ".audit", Action.AUDIT),
)
PAGES = (outbox, actions, audit)


def sections() -> list[Section]:
    """Return the entries of the menu that the current user may see."""
    return [section for section in SECTIONS if may(section.action)]
