"""Describe why an email failed in words that alike failures share: the server's reply without numbers and addresses."""

from __future__ import annotations

import re

from .models import NAME_LENGTH

# RFC 5321, 4.2, and RFC 3463: the reply code and the enhanced code say what is wrong, so they stay.
CODES = re.compile(r"(?P<codes>[245]\d\d(?:[ -]+[245]\.\d{1,3}\.\d{1,3})?)(?P<text>\b.*)", re.DOTALL)
# What differs between alike failures: links, addresses, IP addresses, and words with a digit, such as queue ids and numbers.
VARIABLE = re.compile(
    r"https?://\S+|<[^<>]*@[^<>]*>|[^\s<>()\[\]:;,\"']+@[\w.-]+|\[?\b(?:\d{1,3}\.){3}\d{1,3}\b\]?|[\w.:=+/-]*\d[\w.:=+/-]*"
)


def describe_failure(reply: str) -> str:
    """Return *reply* (a code and the server's text) with ``…`` for everything that differs between alike failures."""
    found = CODES.match(reply)
    codes, text = (found["codes"], found["text"]) if found else ("", reply)
    words = " ".join(VARIABLE.sub("…", text).split())
    return f"{' '.join(codes.replace('-', ' ').split())} {words}".strip()[:NAME_LENGTH]
