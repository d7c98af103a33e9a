"""The frame's document: the mail's HTML in the colours that one asks for, with its own pictures and nothing active."""

from __future__ import annotations

import pytest

from flask_outbox.desk.frame import frame_document, has_dark_colours

OWN = (
    '<html><head><meta name="color-scheme" content="light dark"><style>@media (prefers-color-scheme: dark){a{b:c}}</style></head>x'
)


def test_the_colours_are_chosen_by_the_frame_and_not_by_the_screen() -> None:
    light, dark, inverted = (frame_document(OWN, {}, colours) for colours in ("light", "dark", "inverted"))
    assert "@media (max-width: 0){a{b:c}}" in light
    assert "@media (min-width: 0){a{b:c}}" in dark
    assert "@media (max-width: 0){a{b:c}}" in inverted
    assert '<meta name="color-scheme" content="light"><meta' in light
    assert '<meta name="color-scheme" content="dark"><meta' in dark
    assert "prefers-color-scheme" not in light + dark + inverted
    assert "invert(1)" in inverted
    assert "invert(1)" not in light + dark


def test_a_mail_without_dark_colours_stays_light() -> None:
    assert 'content="light"' in frame_document("<p>words", {}, "dark")


@pytest.mark.parametrize(
    ("html", "has"),
    [
        (OWN, True),
        ("<style>@media ( prefers-color-scheme :DARK ){}</style>", True),
        ("<style>:root{color-scheme: light dark}</style>", True),
        ("<style>@media (prefers-color-scheme: light){}</style>", False),
        ("<style>p{color:dark}</style>", False),
    ],
)
def test_it_is_known_whether_a_mail_has_dark_colours(html: str, has: bool) -> None:
    assert has_dark_colours(html) is has


def test_a_color_scheme_of_the_style_sheet_follows() -> None:
    html = "<style>:root{color-scheme: light dark}</style>"
    assert "color-scheme: dark}" in frame_document(html, {}, "dark")
    assert "color-scheme: light}" in frame_document(html, {}, "light")


@pytest.mark.parametrize(
    "html",
    [
        "<link rel=preconnect href=//x>",
        "<LINK\nhref=x>",
        "<base href='//x'>",
        "<script>x</script>",
        "<object/>",
        "<iframe src=//x>",
    ],
)
def test_what_could_connect_or_run_becomes_a_tag_without_meaning(html: str) -> None:
    document = frame_document(f"<html><head></head>{html}", {}, "light").partition("</head>")[2]
    assert document.startswith("<x-")


def test_pictures_of_the_mail_become_part_of_the_document() -> None:
    html = '<img src="cid:a%40b"><div style="background:url(cid:a@b)"></div><img src="cid:else">the text cid:a@b'
    document = frame_document(html, {"a@b": "data:image/png;base64,eA=="}, "light")
    assert document.count("data:image/png") == 3
    assert 'src="cid:else"' in document
