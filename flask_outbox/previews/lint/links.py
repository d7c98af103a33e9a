"""The links of a mail: absolute, to a host that is meant, and the same in both halves."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .finding import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .document import Document

URL = re.compile(r"\bhttps?://[^\s<>\"']+", re.IGNORECASE)
# What a sentence puts behind an address, and what does not belong to it.
BEHIND = ".,;:!?"
NOT_WEB = ("mailto:", "tel:", "sms:", "cid:", "data:", "geo:", "webcal:")
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
ABSOLUTE = "Make it with url_for, whose links are absolute in a mail, or write the whole URL."


def check_links(text: str, document: Document | None, base_url: str) -> Iterator[Finding]:
    """Yield what is wrong with the links in *text* and *document*, either of which may be missing."""
    in_text = text_links(text)
    in_html = {} if document is None else html_links(document)
    for half, links in (("text", in_text), ("html", in_html)):
        for link, line in links.items():
            yield from _check_link(half, link, line, base_url)
    if document is not None:
        yield from _check_images(document)
        if text.strip():
            yield from _check_same(in_text, in_html)


def text_links(text: str) -> dict[str, int]:
    """Return each URL in *text* with the line where it occurs first."""
    links: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for found in URL.findall(line):
            links.setdefault(_trimmed(found), number)
    return links


def html_links(document: Document) -> dict[str, int]:
    """Return the target of each link in *document* with the line where it occurs first; not those inside the mail."""
    links: dict[str, int] = {}
    for element in document.all_with("a", "area"):
        target = element.attributes.get("href", "").strip()
        if "href" in element.attributes and not re.match(r"#.", target):
            links.setdefault(target, element.line)
    return links


def _trimmed(url: str) -> str:
    url = url.rstrip(BEHIND)
    # A parenthesis belongs to the URL if it was opened in it.
    while url.endswith(")") and url.count(")") > url.count("("):
        url = url[:-1].rstrip(BEHIND)
    return url


def _check_link(half: str, link: str, line: int, base_url: str) -> Iterator[Finding]:
    if link.lower().startswith(NOT_WEB):
        return
    host, scheme = _host(link)
    if link in {"", "#"}:
        yield Finding(Level.ERROR, "link-empty", half, line, "a link leads nowhere", "Give it an address, or remove it.")
    elif scheme not in {"http", "https"}:
        what = f"the link {link!r:.200} is not absolute" if not scheme else f"the link {link!r:.200} is no web address"
        yield Finding(Level.ERROR, "link-relative", half, line, what, ABSOLUTE)
    elif scheme == "http" and not _is_base(link, base_url) and host not in LOOPBACK:
        what = f"the link {link!r:.200} is not encrypted"
        yield Finding(Level.ERROR, "link-http", half, line, what, "Write https.")
    elif base_url and host in LOOPBACK and not _is_base(link, base_url):
        what = f"the link {link!r:.200} leads to the reader's own computer, and MAIL_BASE_URL is {base_url}"
        yield Finding(Level.ERROR, "link-local", half, line, what, ABSOLUTE)


def _host(link: str) -> tuple[str, str]:
    try:
        parts = urlsplit(link)
        return (parts.hostname or "").lower(), parts.scheme.lower()
    except ValueError:
        return "", ""


def _is_base(link: str, base_url: str) -> bool:
    return bool(base_url) and (link == base_url.rstrip("/") or link.startswith(f"{base_url.rstrip('/')}/"))


def _check_images(document: Document) -> Iterator[Finding]:
    for element in document.all_with("img"):
        source = element.attributes.get("src", "").strip()
        if source.lower().startswith(("cid:", "data:", "https://")):
            continue
        what = f"the image {source!r:.200} cannot be loaded" if source else "an image has no src"
        remedy = "Give it an https URL, or attach it and write cid: with its Content-ID."
        if _host(source)[1] != "http" or _host(source)[0] not in LOOPBACK:
            yield Finding(Level.ERROR, "image-source", "html", element.line, what, remedy)


def _check_same(in_text: dict[str, int], in_html: dict[str, int]) -> Iterator[Finding]:
    web = {link: line for link, line in in_html.items() if link.lower().startswith(("http:", "https:"))}
    for link in web.keys() - in_text.keys():
        what = f"the link {link!r:.200} is in the HTML alone"
        yield Finding(Level.ERROR, "link-missing", "html", web[link], what, "Put it into the plain text, too.")
    for link in in_text.keys() - web.keys():
        what = f"the link {link!r:.200} is in the plain text alone"
        yield Finding(Level.ERROR, "link-missing", "text", in_text[link], what, "Put it into the HTML, too, as a link.")
