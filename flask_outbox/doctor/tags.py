"""Read the tags of a DKIM or DMARC record: ``v=DMARC1; p=reject``."""

from __future__ import annotations


def read_tags(record: str) -> dict[str, str]:
    """Return the tags of *record* by name, in lower case; the first of two with the same name counts."""
    tags: dict[str, str] = {}
    for part in record.split(";"):
        name, equals, value = part.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags
