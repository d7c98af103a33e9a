"""One header field: checked for anything that could end it early, encoded (RFC 2047) and folded (RFC 5322)."""

from __future__ import annotations

import base64
import re
import unicodedata

from ..errors import BadHeader, InvalidMessage

# RFC 5322, 2.2: printable ASCII but the colon; longer than the longest that is registered, and short enough for a line.
NAME = re.compile(r"[!-9;-~]{1,70}")
# Programs read these, and know no encoded words in them.
STRUCTURED = re.compile(r"list-.*|references|in-reply-to|sender|return-path|precedence|auto-submitted", re.IGNORECASE)
# Every control character (line breaks are among them) but the tab, and the two separators that Python,
# and readers written in it, also take for the end of a line.
FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
LINE_BREAKS = "\r\n\x0b\x0c\x85\u2028\u2029"
PRINTABLE = re.compile("[ -~]*")
# RFC 5322, 2.1.1: a line should end by 78 and must end by 998.
LINE = 76
LONGEST_WORD = 900
# RFC 2047, 2: an encoded word is 75 characters at most; "=?utf-8?b?" and "?=" take 12 of them.
ENCODED_WORD = 75 - 12


def reject_controls(value: str, field: str) -> None:
    """Raise BadHeader if *value* holds a line break of any kind, InvalidMessage for another control or half a surrogate pair."""
    found = FORBIDDEN.search(value)
    if found is None:
        return
    character = found.group()
    name = unicodedata.name(character, f"U+{ord(character):04X}")
    is_break = character in LINE_BREAKS
    what = "a line break" if is_break else "a character that no header may hold"
    message = f"{field} holds {what} ({name}) at position {found.start() + 1}: remove it"
    raise BadHeader(message) if is_break else InvalidMessage(message)


def encoded_words(text: str, *, used: int = 0) -> str:
    """Return *text* as RFC 2047 encoded words, one a line; the first line has *used* characters on it already."""
    words, chunk = [], bytearray()
    room = _room(LINE - used)
    for character in text:
        raw = character.encode()
        if chunk and len(chunk) + len(raw) > room:
            words.append(chunk)
            chunk, room = bytearray(), _room(ENCODED_WORD + 12)
        chunk += raw
    words.append(chunk)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode()}?=" for word in words)


def _room(width: int) -> int:
    return max(min(width - 12, ENCODED_WORD) // 4 * 3, 12)


def field(name: str, value: str) -> str:
    """Return one header line (or several, folded) with *value* in it, CRLF at its end.

    Raises InvalidMessage for a name that is none, for a value that could end the header early, and for one that cannot be
    written into a header that programs read.
    """
    if not NAME.fullmatch(name):
        message = f"{name!r:.100} is no name for a header: up to 70 printable ASCII characters, without blanks or colon"
        raise InvalidMessage(message)
    reject_controls(value, f"the header {name}")
    structured = STRUCTURED.fullmatch(name)
    if structured:
        value = " ".join(value.split())
    if _is_plain(value):
        return f"{name}: {fold(value.split(' '), len(name) + 2)}\r\n"
    if structured:
        message = f"the header {name} has to be ASCII, without '=?', each word shorter than {LONGEST_WORD}: percent-encode a URL"
        raise InvalidMessage(message)
    return f"{name}: {encoded_words(value, used=len(name) + 2)}\r\n"


def _is_plain(value: str) -> bool:
    """Return whether *value* is read back as it stands, wherever it is folded."""
    if not PRINTABLE.fullmatch(value) or "=?" in value or "  " in value or value != value.strip():
        return False
    return len(value) < LONGEST_WORD or max(map(len, value.split(" "))) < LONGEST_WORD


def fold(words: list[str], used: int) -> str:
    """Join *words* by blanks, and begin a new line before the blank where one would grow longer than it should."""
    lines, line = [], words[0]
    for word in words[1:]:
        if used + len(line) + 1 + len(word) > LINE:
            lines.append(line)
            line, used = " " + word, 0
        else:
            line += " " + word
    return "\r\n".join([*lines, line])
