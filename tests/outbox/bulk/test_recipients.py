"""A CSV file as spreadsheets and people write it becomes lines, or one clear sentence."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest

from flask_outbox.bulk.columns import InvalidRecipients
from flask_outbox.bulk.recipients import LONGEST_LINE, Recipients, seekable

HEADER = "email,name\n"


def values(data: str | bytes) -> list[dict[str, str]]:
    return [line.values for line in lines(data)]


def lines(data: str | bytes) -> list[Any]:
    return list(Recipients(io.BytesIO(data.encode() if isinstance(data, str) else data)))


@pytest.mark.parametrize(
    "data",
    [
        "email,name\na@b.example,Zoë\n",
        "\ufeffemail,name\r\na@b.example,Zoë\r\n",
        "email;name\na@b.example;Zoë",
        "email\tname\na@b.example\tZoë\n",
        '"email";"name"\n"a@b.example";"Zoë"\n',
        "\n , \nemail, name\n\n,\n a@b.example , Zoë \n  \n",
        "email,name\ra@b.example,Zoë\r",
        'email, "name"\na@b.example, "Zoë"\n',
        "sep=;\nemail;name\na@b.example;Zoë\n",
        '\ufeff"sep=,"\r\n\r\nemail,name\r\na@b.example,Zoë\r\n',
        "SEP=|\nemail|name\na@b.example|Zoë\n",
        "sep=\t\nemail\tname\na@b.example\tZoë\n",
        "sep=;;;\nemail;name;;\na@b.example;Zoë;;\n",
        "email,name,,\na@b.example,Zoë,,\n",
        "email,name,,\na@b.example,Zoë\n",
        "email,name\na@b.example,Zoë,,\n",
        "email,,name\na@b.example,,Zoë\n",
    ],
)
def test_every_form_that_a_spreadsheet_writes_is_read(data: str) -> None:
    assert values(data) == [{"email": "a@b.example", "name": "Zoë"}]


def test_a_quoted_field_holds_delimiters_quotation_marks_and_line_breaks() -> None:
    (line,) = lines('name;email\n"Zoë ""Z"";\r\nMüller";a@b.example\n')
    assert line.values["name"] == 'Zoë "Z";\r\nMüller'


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("Email", {"Email", "email"}),
        ("E-Mail", {"E_Mail", "email"}),
        ("EMAIL,First name,last-name", {"EMAIL", "email", "First_name", "last_name"}),
        ('email;"Straße"', {"email", "Straße"}),
        # The delimiter is what finds the address, however many others there are.
        ("name;email\t", {"name", "email"}),
    ],
)
def test_the_header_names_the_variables(header: str, names: set[str]) -> None:
    recipients = Recipients(io.BytesIO(header.encode()))
    assert set(recipients.columns) | {"email"} == names


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "the file is empty"),
        ("\n\r\n ,,\n", "the file is empty"),
        ("name,street\n", "names no column email: it names name, street"),
        ("email,name,name\n", "names the column name twice"),
        ("email,first name,first-name\n", "names the column first_name twice"),
        ("email,E-Mail\n", "which column is the address: email or E_Mail"),
        ("email,2nd\n", "the column '2nd' cannot be a variable"),
        ("email,naïve.name\n", "cannot be a variable"),
        ('email,"name\n', "a quotation mark in it is not closed"),
        ("email,name\na@b.example,Zoë\n".encode("latin-1"), "the file is not UTF-8: in the spreadsheet, save it as 'CSV UTF-8'"),
        ("email,name\na@b.example,Zoë\n".encode("utf-16"), "the file is not UTF-8"),
        (HEADER.encode() + b"a@b.example,x\n" * 10_000 + b"b@b.example,Zo\xeb\n", "the file is not UTF-8"),
        ("email,name\na@b.example,Zo\0\n", "line 2 of the file contains a NUL"),
        ("email" + " " * LONGEST_LINE, "line 1 of the file has more than 1000000 characters"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_cannot_be_used_gets_one_sentence_before_any_line(data: str | bytes, words: str) -> None:
    with pytest.raises(InvalidRecipients, match=words) as raised:
        Recipients(io.BytesIO(data.encode() if isinstance(data, str) else data))
    assert "\n" not in str(raised.value)


def test_a_spreadsheet_may_omit_the_last_cells_if_they_are_empty() -> None:
    assert values("email,name,street\na@b.example,Zoë\nb@b.example\n") == [
        {"email": "a@b.example", "name": "Zoë", "street": ""},
        {"email": "b@b.example", "name": "", "street": ""},
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("name,email\nZoë\n", "it has 1 field, and the address is in column 2"),
        ("email,,name\na@b.example,x,Zoë\n", "column 2 contains 'x', and the header line gives it no name"),
        ("email,name\na@b.example,Zoë,x\n", "it has 3 fields, and the header line has 2"),
    ],
)
def test_a_value_that_no_column_names_makes_the_line_invalid(data: str, problem: str) -> None:
    assert [line.problem for line in lines(data)] == [problem]


def test_the_separator_line_decides_the_delimiter_and_counts_as_a_line() -> None:
    (line,) = lines("sep=;\nemail;name\na@b.example;Müller, Zoë;x\n")
    assert (line.where, line.problem) == ("line 3", "it has 3 fields, and the header line has 2")


def test_an_invalid_line_is_reported_with_its_place_and_the_next_is_read() -> None:
    read = lines(
        'email,name\n\na@b.example,A,,x\nb@b.example,B,C\n"c@b.example"C,C\nd@b.example,"D\nand\nD"\ne@b.example,E\nf@b.example,"F\n'
    )
    assert [(line.where, line.problem[:27]) for line in read] == [
        ("line 3", "it has 4 fields, and the he"),
        ("line 4", "it has 3 fields, and the he"),
        ("line 5", "a quotation mark is missing"),
        ("line 6", ""),
        ("line 9", ""),
        ("line 10", "a quotation mark is missing"),
    ]


def test_a_quotation_mark_that_is_left_open_takes_no_more_than_a_field_may_hold() -> None:
    read = lines(HEADER + 'a@b.example,"Zoë\n' + "b@b.example,B\n" * 20_000)
    assert read[0].where == "lines 2 to 9365"
    assert len([line for line in read if not line.problem]) > 10_000


def test_a_pipe_is_read_as_a_file_is() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"email\na@b.example\n")
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe, seekable(pipe) as file:
        recipients = Recipients(file)
        assert [line.values for line in recipients] == [{"email": "a@b.example"}]
        assert recipients.position == recipients.size == 18


def test_the_position_goes_from_nothing_to_the_size() -> None:
    file = io.BytesIO(b"already read\n" + HEADER.encode() + b"a@b.example,x\n" * 5_000)
    file.readline()
    recipients = Recipients(file)
    positions = [recipients.position for _ in recipients]
    assert positions == sorted(positions)
    assert 0 < positions[0] < 20_000 < positions[-1] == recipients.size
    assert not file.closed
