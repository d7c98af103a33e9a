"""Read the HTML of a mail into what lint looks at: elements, CSS and words, each with its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

UNSEEN = {"style", "script", "title", "head"}


@dataclass(frozen=True)
class Element:
    """A start tag with its attributes, whose names are in lower case."""

    tag: str
    attributes: dict[str, str]
    line: int


@dataclass(eq=False)
class Document(HTMLParser):
    """The HTML half of a mail. ``words`` is the text that a reader sees, ``title`` that of the <title>, ``sheets`` the CSS."""

    html: str
    elements: list[Element] = field(default_factory=list)
    sheets: list[tuple[str, int]] = field(default_factory=list)
    words: list[tuple[str, int]] = field(default_factory=list)
    title: str = ""
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        # The last text is handed on before a tag. close() would do that, too, but it takes quadratic time for an unclosed tag.
        self.feed(f"{self.html}<br>")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the element, and the CSS in its style attribute."""
        line = self.getpos()[0]
        attributes = {name: value or "" for name, value in reversed(attrs)}
        self.elements.append(Element(tag, attributes, line))
        if "style" in attributes:
            self.sheets.append((attributes["style"], line))
        if tag in UNSEEN:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element whose text nobody sees."""
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Keep text as what it is: CSS, the title, or words."""
        inside = self._open[-1] if self._open else ""
        if inside == "style":
            self.sheets.append((data, self.getpos()[0]))
        elif inside == "title":
            self.title += data
        elif not inside and data.strip():
            self.words.append((data, self.getpos()[0]))

    def all_with(self, *tags: str) -> list[Element]:
        """Return the elements with one of *tags*."""
        return [element for element in self.elements if element.tag in tags]
