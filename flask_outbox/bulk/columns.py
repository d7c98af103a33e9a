"""Parse the header of a CSV file: its delimiter, the names of the columns, and which column is the address."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from ..errors import MailError

# A spreadsheet writes a semicolon in countries whose decimal sign is the comma.
DELIMITERS = ",;\t"
# All characters of an empty row.
EMPTY = f"{DELIMITERS}\r\n "
# The delimiter as some spreadsheets declare it above the header; the rest of the row may be filled with delimiters.
SEPARATOR = re.compile(rf'"?sep=([{DELIMITERS}|])"?[{EMPTY}|]*', re.IGNORECASE)


class InvalidRecipients(MailError):  # noqa: N818 - the name says what is wrong, as InvalidMessage does
    """The file as a whole is unusable, and nothing has been stored; the message says why."""


@dataclass(frozen=True)
class Columns:
    """The columns of a file. ``names`` holds a variable for each column, empty for an untitled one."""

    names: list[str]
    delimiter: str
    email: int

    def problem(self, fields: list[str]) -> str:
        """Return why *fields* are no recipient; an empty string if they are one."""
        if len(fields) <= self.email:
            return f"it has {_fields(len(fields))}, and the address is in column {self.email + 1}"
        if any(fields[len(self.names) :]):
            return f"it has {_fields(len(fields))}, and the header line has {len(self.names)}"
        for number, (name, field) in enumerate(zip(self.names, fields, strict=False), 1):
            if field and not name:
                return f"column {number} contains {field!r:.50}, and the header line gives it no name"
        return ""

    def values(self, fields: list[str]) -> dict[str, str]:
        """Return the variables of one recipient. A spreadsheet omits the last cells of a row if they are empty."""
        padded = fields + [""] * (len(self.names) - len(fields))
        named = {name: field for name, field in zip(self.names, padded, strict=False) if name}
        return named | {"email": fields[self.email]}


def separator(line: str) -> str | None:
    """Return the delimiter that a ``sep=;`` line announces; None for any other line."""
    found = SEPARATOR.fullmatch(line)
    return found.group(1) if found else None


def read_header(line: str, delimiter: str | None = None) -> Columns:
    """Return the columns that the header *line* names; raise InvalidRecipients if it is unusable.

    Without a *delimiter*, it tries all and takes the one that finds an email column, or else the most columns.
    """
    delimiter, titles = _split(line, delimiter or DELIMITERS)
    names = [_variable(title) for title in titles]
    for name in names:
        if name and names.count(name) > 1:
            message = f"the header line names the column {name} twice"
            raise InvalidRecipients(message)
    return Columns(names, delimiter, _find_email(names))


def _split(line: str, delimiters: str) -> tuple[str, list[str]]:
    """Return the best of *delimiters* for the header line, and the titles between."""
    found, broken = [], False
    for delimiter in delimiters:
        try:
            titles = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
        except csv.Error:
            broken = True
        else:
            found.append((any(map(_is_email, titles)), len(titles), delimiter, titles))
    # max() takes the first of several that are equally good.
    has_email, _, delimiter, titles = max(found, key=lambda candidate: candidate[:2], default=(False, 0, "", []))
    if broken and not has_email:
        message = "the header line cannot be read: a quotation mark in it is not closed"
        raise InvalidRecipients(message)
    return delimiter, titles


def _variable(title: str) -> str:
    name = re.sub(r"[\s-]", "_", title.strip())
    if name and not name.isidentifier():
        message = f"the column {title!r:.100} cannot be a variable: use letters, digits and underscores, beginning with a letter"
        raise InvalidRecipients(message)
    return name


def _find_email(names: list[str]) -> int:
    found = [index for index, name in enumerate(names) if _is_email(name)]
    if not found:
        message = f"the header line names no column email: it names {', '.join(filter(None, names)):.200}"
        raise InvalidRecipients(message)
    if len(found) > 1:
        both = " or ".join(names[index] for index in found)
        message = f"which column is the address: {both}? Name only one of them email"
        raise InvalidRecipients(message)
    return found[0]


def _is_email(title: str) -> bool:
    return re.sub(r"[\s_-]", "", title).lower() == "email"


def _fields(number: int) -> str:
    return "1 field" if number == 1 else f"{number} fields"
