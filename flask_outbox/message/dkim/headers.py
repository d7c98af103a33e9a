"""Decide which headers a signature covers: what a receiver shows or acts on.

Most of them are signed once more than they occur (RFC 6376, 8.15), so that nobody on the way can add another one, such as a second
Subject.
"""

from __future__ import annotations

from functools import lru_cache

# The relaxed lines of a header by their name, in lower case.
Headers = dict[bytes, list[bytes]]
# Signed once more than they occur.
OVERSIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"list-id",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-help",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
)
# Signed if they occur: others on the way may add them for good reason.
SIGNED = (
    b"sender",
    b"in-reply-to",
    b"references",
    b"auto-submitted",
    b"feedback-id",
    b"disposition-notification-to",
    b"resent-date",
    b"resent-from",
    b"resent-sender",
    b"resent-to",
    b"resent-cc",
    b"resent-message-id",
)
# RFC 5322, 2.1.1: a line should end by 78; one of them begins with a space, and some end with a semicolon.
LINE = 72


def signed_names(headers: Headers) -> tuple[bytes, ...]:
    """Return the names for ``h=``, each as often as it is signed."""
    names = [name for name in OVERSIGNED for _ in range(len(headers.get(name, ())) + 1)]
    return *names, *(name for name in SIGNED for _ in headers.get(name, ()))


def signed_lines(names: tuple[bytes, ...], headers: Headers) -> bytes:
    """Return the lines that are signed; of several headers of one name the last one comes first (RFC 6376, 5.4.2)."""
    left = {name: lines.copy() for name, lines in headers.items()}
    return b"".join(left[name].pop() + b"\r\n" for name in names if left.get(name))


@lru_cache(maxsize=256)
def folded_names(names: tuple[bytes, ...]) -> str:
    """Return the value of ``h=`` on lines of its own; white space is allowed around a colon."""
    lines, line = [], ""
    for name in map(bytes.decode, names):
        if line and len(line) + len(name) > LINE:
            lines.append(line + ":")
            line = name
        else:
            line = f"{line}:{name}" if line else name
    return "\r\n ".join([*lines, line])
