"""The tree of errors."""

from __future__ import annotations

import inspect
import re

import pytest

from flask_outbox import errors
from flask_outbox.errors import Deferred, Held, InvalidMessage, MailError, Refused, TransmissionError, Unavailable

# It stands between, to carry what the server said; nobody catches it, so the tree leaves it out.
BETWEEN = TransmissionError


def drawn() -> dict[str, str]:
    """Return each class of the drawn tree, with the one that it hangs from."""
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
    classes = [
        one for _, one in inspect.getmembers(errors, inspect.isclass) if one.__module__ == errors.__name__ and one is not BETWEEN
    ]
    return {one.__name__: next(base.__name__ for base in one.__mro__[1:] if base is not BETWEEN) for one in classes}


def test_the_tree_drawn_in_the_docstring_is_true() -> None:
    assert drawn() == real()
    assert len(drawn()) >= 5


def test_everything_hangs_from_mail_error() -> None:
    for one in (InvalidMessage, Refused, Held, Deferred, Unavailable):
        assert issubclass(one, MailError)


@pytest.mark.parametrize(
    ("reply", "enhanced"),
    [("5.1.1 no such user", "5.1.1"), ("4.7.123 later", "4.7.123"), ("no such user", None), ("5.1.1", "5.1.1"), ("15.1.1 x", None)],
)
def test_what_the_server_said_is_kept(reply: str, enhanced: str | None) -> None:
    error = Refused(reply, 550)
    assert (error.code, error.reply, error.enhanced, str(error)) == (550, reply, enhanced, f"550 {reply}")
    assert str(Deferred("the line broke", uncertain=True)) == "the line broke"
    assert Deferred("x", uncertain=True).uncertain
    assert Unavailable("x", ours=True).ours
