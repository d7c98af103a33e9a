"""The tree of errors."""

from __future__ import annotations

import inspect
import pickle
import re

import flask_mail
import pytest

from flask_outbox import Message, errors
from flask_outbox.errors import BadHeader, Deferred, Held, InvalidMessage, MailError, Refused, TransmissionError, Unavailable
from flask_outbox.message.writer import write

# A base class that only carries what the server said; the drawn tree leaves it out.
HIDDEN = TransmissionError


def drawn() -> dict[str, str]:
    """Return each class of the drawn tree, and its parent."""
    tree: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^ {4}([│├└─ ]*)([A-Z]\w+)(?: {2,}\S|$)", line)
        if found:
            depth, name = len(found.group(1)) // 4, found.group(2)
            above[depth] = name
            tree[name] = above.get(depth - 1, "Exception")
    return tree


def real() -> dict[str, str]:
    members = [member for _, member in inspect.getmembers(errors, inspect.isclass)]
    classes = [member for member in members if member.__module__ == errors.__name__ and member is not HIDDEN]
    return {member.__name__: next(base.__name__ for base in member.__mro__[1:] if base is not HIDDEN) for member in classes}


def test_the_tree_drawn_in_the_docstring_is_true() -> None:
    assert drawn() == real()
    assert len(drawn()) >= 5


@pytest.mark.parametrize("leaf", [InvalidMessage, BadHeader, Refused, Held, Deferred, Unavailable])
def test_every_error_is_a_mail_error(leaf: type[Exception]) -> None:
    assert issubclass(leaf, MailError)


def test_a_held_email_was_refused_by_no_server() -> None:
    assert not issubclass(Held, Refused)
    assert Held("MAIL_ALLOW_TO does not name the recipient").code is None


def test_a_line_break_in_a_header_is_caught_as_in_flask_mail() -> None:
    with pytest.raises(flask_mail.BadHeaderError, match="the header Subject holds a line break"):
        write(Message("hi\r\nBcc: c@example.com", ["b@example.com"], "text", sender="a@example.com"))
    with pytest.raises(InvalidMessage) as caught:
        write(Message("hi\0", ["b@example.com"], "text", sender="a@example.com"))
    assert not isinstance(caught.value, BadHeader)


@pytest.mark.parametrize(
    "error", [Refused("5.1.1 no", 550), Deferred("the line broke", uncertain=True), Unavailable("5.7.0 log in", 530, ours=True)]
)
def test_an_error_keeps_what_it_carries_with_its_notes_when_pickled(error: TransmissionError) -> None:
    error.add_note("b@example.com: 451 4.2.0 greylisted")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert copy.__notes__ == ["b@example.com: 451 4.2.0 greylisted"]


@pytest.mark.parametrize(
    ("reply", "enhanced"),
    [("5.1.1 no such user", "5.1.1"), ("4.7.123 later", "4.7.123"), ("no such user", None), ("5.1.1", "5.1.1"), ("15.1.1 x", None)],
)
def test_an_error_keeps_what_the_server_said(reply: str, enhanced: str | None) -> None:
    error = Refused(reply, 550)
    assert (error.code, error.reply, error.enhanced, str(error)) == (550, reply, enhanced, f"550 {reply}")
    assert str(Deferred("the line broke", uncertain=True)) == "the line broke"
    assert Deferred("x", uncertain=True).uncertain
    assert Unavailable("x", ours=True).ours
