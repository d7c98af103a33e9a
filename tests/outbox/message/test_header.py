"""One header field: what may be in it, and where it is folded."""

from __future__ import annotations

import re
from email.header import decode_header, make_header

import pytest

from flask_outbox.errors import InvalidMessage
from flask_outbox.message.header import encoded_words, field, reject_controls


@pytest.mark.parametrize("code", [*range(9), *range(10, 32), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xD800, 0xDFFF])
def test_every_control_character_is_refused_with_its_place(code: int) -> None:
    with pytest.raises(InvalidMessage, match=r"^the subject holds .* at position 3: remove it$"):
        reject_controls(f"ab{chr(code)}c", "the subject")


def test_a_line_break_is_called_one() -> None:
    for character in "\r\n\x0b\x0c\x85\u2028\u2029":
        with pytest.raises(InvalidMessage, match="holds a line break"):
            reject_controls(character, "it")


@pytest.mark.parametrize("text", ["", "plain", "\t", "ä", "智", "😀", "\u00a0", "\u200b", "\u202e", "\ufeff", "\ue000"])
def test_every_other_character_is_allowed(text: str) -> None:
    reject_controls(text, "it")


def test_a_short_line_stands_as_it_is() -> None:
    assert field("Subject", "Hi there") == "Subject: Hi there\r\n"


def test_a_long_line_is_folded_before_a_space() -> None:
    written = field("Subject", "word " * 40 + "end")
    assert all(len(line) <= 78 for line in written.split("\r\n"))
    assert written.replace("\r\n", "") == "Subject: " + "word " * 40 + "end"


@pytest.mark.parametrize("text", ["ä" * 100, "😀" * 100, "a ä" * 100, "x" * 5000 + "ä"])
@pytest.mark.parametrize("name", ["X", "Subject", "List-Unsubscribe-Post"])
def test_an_encoded_word_holds_whole_characters_and_fits_its_line(name: str, text: str) -> None:
    written = field(name, text) if name != "List-Unsubscribe-Post" else f"{name}: {encoded_words(text, used=len(name) + 2)}\r\n"
    for line in written.removesuffix("\r\n").split("\r\n"):
        assert len(line) <= 76
        assert re.fullmatch(r"(\S+:)? =\?utf-8\?b\?[A-Za-z0-9+/=]+\?=", line)


@pytest.mark.parametrize("text", ["😀" * 60, "ä" * 100, "aä" * 50, "智" * 50])
@pytest.mark.parametrize("used", [0, 9, 60, 76])
def test_only_the_last_encoded_word_is_padded(text: str, used: int) -> None:
    words = encoded_words(text, used=used).split("\r\n ")
    assert not any(word.removesuffix("?=").endswith("=") for word in words[:-1])
    assert max(map(len, words)) <= 75
    assert str(make_header(decode_header(" ".join(words)))) == text


def test_a_text_without_a_good_place_to_cut_is_cut_all_the_same() -> None:
    text = "😀" + "智" * 100
    words = encoded_words(text).split("\r\n ")
    assert max(map(len, words)) <= 75
    assert str(make_header(decode_header(" ".join(words)))) == text


def test_a_header_that_programs_read_is_never_encoded() -> None:
    for value in ("<https://b.example/ä>", "=?utf-8?q?a?=", f"<https://b.example/{'a' * 900}>", "a\tä"):
        with pytest.raises(InvalidMessage, match="List-Unsubscribe has to be ASCII"):
            field("List-Unsubscribe", value)
    assert field("List-Unsubscribe", " <a>,   <b> ") == "List-Unsubscribe: <a>, <b>\r\n"
