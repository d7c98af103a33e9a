"""The recipients of a large sending: a CSV file as spreadsheets write it, checked whole, then read line by line."""

from __future__ import annotations

import csv
import io
import re
import shutil
import tempfile
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from ..errors import MailError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# A spreadsheet writes a semicolon where the comma is the decimal sign.
DELIMITERS = ",;\t"
# What an empty row looks like.
EMPTY = f"{DELIMITERS}\r\n "
# In characters: a file without line breaks must not fill the memory.
LONGEST_LINE = 1_000_000
SAVE_AS = "in the spreadsheet, save it as 'CSV UTF-8'"


class InvalidSheet(MailError):  # noqa: N818 - the name says what is wrong, as InvalidMessage does
    """Say that nothing can be sent to the people in this file, and why; nothing has been stored."""


@dataclass(frozen=True, slots=True)
class Line:
    """One person of the sheet: where she stands, and a string for each column; or a *problem*, and no values."""

    where: str
    values: dict[str, str]
    problem: str = ""


class Sheet:
    """The lines of a CSV file, with the position in it for a progress bar.

    *file* is seekable. The first line that is not empty is the header, and tells the delimiter. Raises InvalidSheet, before
    any line is read, where the file as a whole cannot be used; a single line that cannot is a Line with a problem.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start = file, file.tell()
        self._check()
        self.size = self.position
        with closing(self._lines()) as lines:
            self._header, header = next(((number, line) for number, line in enumerate(lines, 1) if line.strip(EMPTY)), (0, ""))
        self._delimiter, titles = _split_header(header)
        self.columns = [_variable(title) for title in titles]
        self._email = _find_email(self.columns)

    @property
    def position(self) -> int:
        """Return how many bytes have been read, a buffer more or less."""
        return self._file.tell() - self._start

    def __iter__(self) -> Iterator[Line]:
        """Read the lines below the header from the beginning."""
        reader = csv.reader(
            islice(self._lines(), self._header, None), delimiter=self._delimiter, strict=True, skipinitialspace=True
        )
        while True:
            first = self._header + reader.line_num + 1
            try:
                fields = [field.strip() for field in next(reader)]
            except StopIteration:
                return
            except csv.Error as error:
                last = self._header + reader.line_num
                where = f"line {first}" if first == last else f"lines {first} to {last}"
                yield Line(where, {}, f"a quotation mark is missing, or one too many: {error}")
                continue
            if any(fields):
                yield self._line(f"line {first}", fields)

    def _line(self, where: str, fields: list[str]) -> Line:
        if len(fields) != len(self.columns):
            return Line(where, {}, f"it has {len(fields)} fields, and the header line has {len(self.columns)}")
        return Line(where, dict(zip(self.columns, fields, strict=True)) | {"email": fields[self._email]})

    def _check(self) -> None:
        """Read the file to its end once, so that what is wrong with it shows before anything is stored."""
        for number, line in enumerate(self._lines(), 1):
            if "\0" in line:
                message = f"line {number} of the file holds a NUL character, so it is no CSV file: {SAVE_AS}"
                raise InvalidSheet(message)
            if len(line) >= LONGEST_LINE:
                message = (
                    f"line {number} of the file has more than {LONGEST_LINE} characters: give a CSV file, one line for each person"
                )
                raise InvalidSheet(message)

    def _lines(self) -> Generator[str, None, None]:
        self._file.seek(self._start)
        text = io.TextIOWrapper(self._file, "utf-8-sig", newline="")
        try:
            while line := text.readline(LONGEST_LINE):
                yield line
        except UnicodeDecodeError as error:
            message = f"the file is not written in UTF-8: {SAVE_AS}"
            raise InvalidSheet(message) from error
        finally:
            # The wrapper would close what is not its own; whoever has read only a part may have closed it by now.
            with suppress(ValueError):
                text.detach()


@contextmanager
def seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Give *stream*, or a copy on the disk of what comes through a pipe: a sheet is read twice."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield copy


def _split_header(line: str) -> tuple[str, list[str]]:
    """Return the delimiter that makes most of the header line, and the titles between."""
    if not line:
        message = "the file is empty: its first line names the columns, and one of them is email"
        raise InvalidSheet(message)
    found, broken = [], False
    for delimiter in DELIMITERS:
        try:
            titles = next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True))
        except csv.Error:
            broken = True
        else:
            found.append((any(map(_is_email, titles)), len(titles), delimiter, titles))
    # The first of two that are equally good.
    has_email, _, delimiter, titles = max(found, key=lambda one: one[:2], default=(False, 0, "", []))
    if broken and not has_email:
        message = "the header line cannot be read: a quotation mark in it is not closed"
        raise InvalidSheet(message)
    return delimiter, titles


def _variable(title: str) -> str:
    name = re.sub(r"[\s-]", "_", title.strip())
    if not name:
        message = "a column has no name: the header line has to name each, because templates use them as variables"
        raise InvalidSheet(message)
    if not name.isidentifier():
        message = f"the column {title!r:.100} cannot be a variable: write letters, digits and underscores, a letter first"
        raise InvalidSheet(message)
    return name


def _find_email(columns: list[str]) -> int:
    for name in columns:
        if columns.count(name) > 1:
            message = f"the header line names the column {name} twice"
            raise InvalidSheet(message)
    found = [index for index, name in enumerate(columns) if _is_email(name)]
    if not found:
        message = f"the header line names no column email: it names {', '.join(columns):.200}"
        raise InvalidSheet(message)
    if len(found) > 1:
        both = " or ".join(columns[index] for index in found)
        message = f"which column is the address: {both}? Name only one of them email"
        raise InvalidSheet(message)
    return found[0]


def _is_email(title: str) -> bool:
    return re.sub(r"[\s_-]", "", title).lower() == "email"
