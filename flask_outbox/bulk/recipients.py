"""Read the recipients of a mail merge from a CSV file, as spreadsheets write it: check all of it, then read line by line."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from .columns import EMPTY, Columns, InvalidRecipients, read_header, separator

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# In characters: a file without line breaks must not fill the memory.
LONGEST_LINE = 1_000_000
SAVE_AS = "in the spreadsheet, save it as 'CSV UTF-8'"


@dataclass(frozen=True, slots=True)
class Line:
    """One recipient: the place in the file and a string for each column; or a *problem* and no values."""

    where: str
    values: dict[str, str]
    problem: str = ""


class Recipients:
    """The recipients in a CSV file, and the position in it for a progress bar.

    *file* is seekable. Its first line that is not empty is the header, and tells the delimiter; a spreadsheet's ``sep=;`` may
    precede it. Raises InvalidRecipients, before any line is read, if the file as a whole is unusable. A single unusable line
    becomes a Line with a problem.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start = file, file.tell()
        self._check()
        self.size = self.position
        with closing(self._lines()) as lines:
            self._header, self._columns = _find_header(lines)

    @property
    def position(self) -> int:
        """Return how many bytes have been read, to within a buffer."""
        return self._file.tell() - self._start

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns, without the untitled."""
        return [name for name in self._columns.names if name]

    def __iter__(self) -> Iterator[Line]:
        """Read the lines below the header from the beginning."""
        below = islice(self._lines(), self._header, None)
        reader = csv.reader(below, delimiter=self._columns.delimiter, strict=True, skipinitialspace=True)
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
        problem = self._columns.problem(fields)
        return Line(where, {}, problem) if problem else Line(where, self._columns.values(fields))

    def _check(self) -> None:
        """Read the file to its end once, so that a bad file is found before anything is stored."""
        for number, line in enumerate(self._lines(), 1):
            if "\0" in line:
                message = f"line {number} of the file contains a NUL character, so it is not a CSV file: {SAVE_AS}"
                raise InvalidRecipients(message)
            if len(line) >= LONGEST_LINE:
                message = (
                    f"line {number} of the file has more than {LONGEST_LINE} characters: "
                    "use a CSV file with one line for each recipient"
                )
                raise InvalidRecipients(message)

    def _lines(self) -> Generator[str, None, None]:
        self._file.seek(self._start)
        text = io.TextIOWrapper(self._file, "utf-8-sig", newline="")
        try:
            while line := text.readline(LONGEST_LINE):
                yield line
        except UnicodeDecodeError as error:
            message = f"the file is not UTF-8: {SAVE_AS}"
            raise InvalidRecipients(message) from error
        finally:
            # Without detach() the wrapper closes the caller's file. A caller that stopped early may have closed it already.
            with suppress(ValueError):
                text.detach()


@contextmanager
def seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Give *stream*, or a temporary copy if it is a pipe: the file is read twice."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield copy


def _find_header(lines: Iterator[str]) -> tuple[int, Columns]:
    """Return the number of the header line, and its columns."""
    delimiter = None
    for number, line in enumerate(lines, 1):
        if delimiter is None and (delimiter := separator(line)):
            continue
        if line.strip(EMPTY):
            return number, read_header(line, delimiter)
    message = "the file is empty: its first line must name the columns, one of them email"
    raise InvalidRecipients(message)
