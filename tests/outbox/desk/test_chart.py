"""A chart is SVG that a screen reader and a strict CSP accept, whatever it is given."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from flask_outbox.desk.chart import HEIGHT, Bar, _round_up, _short, draw

HOSTILE = "</title></svg><script>alert(1)</script>&\"'"


def bars(*values: int) -> list[Bar]:
    return [Bar(value, str(number), f"{number}: {value}") for number, value in enumerate(values)]


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 2), (1, 2), (2, 2), (3, 4), (5, 6), (9, 10), (10, 20), (11, 20), (41, 60), (99, 100), (4168, 6000), (999_999, 1_000_000)],
)
def test_the_axis_ends_with_a_number_that_is_easy_to_read(value: int, top: int) -> None:
    assert _round_up(value) == top


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (500, "500"), (2000, "2k"), (1500, "1500"), (3_000_000, "3M")])
def test_large_numbers_are_short(value: int, text: str) -> None:
    assert _short(value) == text


def test_a_bar_is_as_high_as_its_value_and_one_is_not_invisible_beside_a_million() -> None:
    svg = ET.fromstring(draw(bars(0, 1, 500_000, 1_000_000), "sums", "good"))
    heights = [float(group.findall("rect")[0].get("height", "")) for group in svg.findall("g")]
    assert heights[0] == 0
    assert heights[1] == 2
    assert heights[2] == pytest.approx(heights[3] / 2)
    assert heights[3] < HEIGHT


def test_a_screen_reader_gets_one_sentence_and_a_mouse_the_value_of_each_bar() -> None:
    svg = ET.fromstring(draw(bars(3, 4), "Sent: 7", "good"))
    assert (svg.get("role"), svg.get("aria-label")) == ("img", "Sent: 7")
    assert [group.findtext("title") for group in svg.findall("g")] == ["0: 3", "1: 4"]


def test_a_bar_that_is_not_counted_yet_is_marked() -> None:
    svg = ET.fromstring(draw([Bar(0, "a", "not yet", is_known=False), *bars(1)], "s", "good"))
    assert [group.get("class") for group in svg.findall("g")] == ["bar unknown", "bar"]


def test_nothing_hostile_leaves_its_place_and_nothing_needs_inline_code() -> None:
    text = draw([Bar(1, HOSTILE, HOSTILE)], HOSTILE, "good")
    svg = ET.fromstring(text)
    assert {element.tag for element in svg.iter()} == {"svg", "line", "text", "g", "title", "rect"}
    assert svg.get("aria-label") == svg.findtext("g/title") == HOSTILE
    assert not any("style" in element.attrib or any(name.startswith("on") for name in element.attrib) for element in svg.iter())
