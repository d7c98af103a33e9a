"""Write one header field: without line breaks in its value, encoded by RFC 2047, and folded by RFC 5322."""

from __future__ import annotations

import base64
import re
import unicodedata

from ..errors import BadHeader, InvalidMessage

# RFC 5322, 2.2: printable ASCII without the colon. The longest registered name is shorter, and 70 characters fit on a line.
NAME = re.compile(r"[!-9;-~]{1,70}")
# These are for programs, which do not decode encoded words in them.
STRUCTURED = re.compile(r"list-.*|references|in-reply-to|precedence|auto-submitted", re.IGNORECASE)
# RFC 5322, 2.2.3, and as gettext writes a long subject: a line break that a space follows is a fold.
FOLDED = re.compile(r"\r\n(?=[ \t]+[^\s])")
# All control characters except the tab, the two Unicode separators that Python's splitlines takes for line breaks, and surrogates.
FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
LINE_BREAKS = "\r\n\x0b\x0c\x85\u2028\u2029"
PRINTABLE = re.compile("[ -~]*")
# RFC 5322, 2.1.1: a line should end by 78 and must end by 998.
LINE = 76
LONGEST_WORD = 900
# RFC 2047, 2: an encoded word is 75 characters at most; "=?utf-8?b?" and "?=" take 12 of them.
ENCODED_WORD = 75 - 12


def as_text(value: object, what: str) -> str:
    """Return *value* as a string: it may be a number or a lazy string, but not bytes or None. *what* names it in the error."""
    if value is None or isinstance(value, bytes | bytearray | memoryview):
        message = f"{what} is {type(value).__name__}, not a string"
        raise InvalidMessage(message)
    return str(value)


def is_text(value: object) -> bool:
    """Return whether *value* is a string, or behaves like one, as Flask-Babel's lazy strings do."""
    return isinstance(value, str) or callable(getattr(value, "encode", None))


def unfold(value: str) -> str:
    """Return a header's *value* without its folds; every other line break stays, and is refused."""
    return FOLDED.sub("", value)


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
    """Return *text* as RFC 2047 encoded words, one on each line; the first line already has *used* characters.

    Each word but the last is cut, if possible, after a multiple of three bytes, because GMime and notmuch stop reading at base64
    padding inside a header.
    """
    words, word, unpadded = [], b"", 0
    room, whole = _room(LINE - used), text.encode()
    if len(whole) <= room:
        # Most subjects and names are short; to look at each character takes five times as long.
        return _encoded_word(whole)
    for character in text:
        raw = character.encode()
        while word and len(word) + len(raw) > room:
            end = unpadded or len(word)
            words.append(word[:end])
            word, unpadded, room = word[end:], 0, _room(ENCODED_WORD + 12)
        word += raw
        if len(word) % 3 == 0:
            unpadded = len(word)
    words.append(word)
    return "\r\n ".join(map(_encoded_word, words))


def _encoded_word(raw: bytes) -> str:
    return f"=?utf-8?b?{base64.b64encode(raw).decode()}?="


def _room(width: int) -> int:
    """Return how many bytes fit into an encoded word of *width* characters: at least 12, which is three of any characters."""
    return max(min(width - 12, ENCODED_WORD) // 4 * 3, 12)


def field(name: str, value: str) -> str:
    """Return the header field *name* with *value*: one line, or several if it is folded, each with CRLF at its end.

    Raises InvalidMessage for an invalid name, for a value with a control character, and for a value that is not ASCII in a header
    for programs.
    """
    if not NAME.fullmatch(name):
        message = f"{name!r:.100} is no name for a header: use up to 70 printable ASCII characters, without spaces or colon"
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
    """Return whether *value* needs no encoding: a reader gets the same text back, wherever it was folded."""
    if not PRINTABLE.fullmatch(value) or "=?" in value or "  " in value or value != value.strip():
        return False
    return len(value) < LONGEST_WORD or max(map(len, value.split(" "))) < LONGEST_WORD


def fold(words: list[str], used: int) -> str:
    """Join *words* with spaces, and fold before a space if the line would be too long; it already has *used* characters."""
    lines, line = [], words[0]
    for word in words[1:]:
        if used + len(line) + 1 + len(word) > LINE:
            lines.append(line)
            line, used = " " + word, 0
        else:
            line += " " + word
    return "\r\n".join([*lines, line])
