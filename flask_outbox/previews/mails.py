"""Find the mails of an app: the template pairs in its template folders, and the file with sample data beside each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from flask.templating import DispatchingJinjaLoader
from jinja2 import BaseLoader, ChoiceLoader, FileSystemLoader

from ..errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

HALVES = {".txt", ".html"}
SAMPLE = ".py"


@dataclass(frozen=True)
class Mail:
    """A template pair: its *name*, such as mail/welcome, and the files it has, by their suffix: .txt, .html, .py."""

    name: str
    files: dict[str, Path]

    @property
    def sample(self) -> Path | None:
        """Return the file with sample data, or None without one."""
        return self.files.get(SAMPLE)

    @property
    def sample_path(self) -> Path:
        """Return where the file with sample data is, or should be."""
        return self.sample or next(iter(self.files.values())).with_suffix(SAMPLE)


def find_mails(app: Flask, folder: str) -> list[Mail]:
    """Return the mails below *folder*, such as mail, in the template folders of *app* and its blueprints, by name.

    A name with a leading underscore, of a file or of a folder, is a part of other mails. A mail with one half is returned, too:
    rendering it says what is missing.
    """
    found: dict[str, dict[str, Path]] = {}
    for root in _roots(app.jinja_env.loader):
        for path in sorted((root / folder).rglob("*")):
            name = PurePosixPath(path.relative_to(root).as_posix())
            if path.suffix in HALVES | {SAMPLE} and not any(part.startswith(("_", ".")) for part in name.parts):
                # The first folder wins, as it does for Jinja.
                found.setdefault(str(name.with_suffix("")), {}).setdefault(path.suffix, path)
    return [Mail(name, files) for name, files in sorted(found.items()) if HALVES & files.keys()]


def find_mail(app: Flask, folder: str, name: str) -> Mail:
    """Return the mail with *name*; raise InvalidMessage if there is none."""
    mails = {mail.name: mail for mail in find_mails(app, folder)}
    if name not in mails:
        message = f"there is no mail {name!r:.100}: the app has {', '.join(mails) or 'none'} (MAIL_TEMPLATE_FOLDER is {folder!r})"
        raise InvalidMessage(message)
    return mails[name]


def _roots(loader: BaseLoader | None) -> Iterator[Path]:
    """Yield the folders that *loader* reads, in its order; a loader that reads no folder has none."""
    match loader:
        case FileSystemLoader():
            yield from map(Path, loader.searchpath)
        case ChoiceLoader():
            for inner in loader.loaders:
                yield from _roots(inner)
        case DispatchingJinjaLoader():
            yield from _roots_of(loader.app)


def _roots_of(app: Any) -> Iterator[Path]:
    for scaffold in (app, *app.iter_blueprints()):
        yield from _roots(scaffold.jinja_loader)
