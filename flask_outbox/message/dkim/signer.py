"""Sign a written message with the keys of its sender's domain, and sign it again once those keys have changed.

A signature has no expiry (``x=``), because mail may wait.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from .canonical import relaxed_body, relaxed_fields
from .headers import LINE, Headers, folded_names, signed_lines, signed_names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from .key import DkimKey

# One of our signatures at the top of a message, and the key that made it: algorithm, domain and selector.
SIGNATURE = re.compile(
    rb"DKIM-Signature: v=1; a=([a-z0-9]+)-sha256; c=relaxed/relaxed;\r\n d=([^;\s]+);\r\n s=([^;\s]+); [^\r]*\r\n(?: [^\r]*\r\n)*"
)
FROM = re.compile(rb"From: (?:[^\r]|\r\n )*@([^\s>]+)>?\r\n")


class Signer:
    """Signs with *keys*; without any it leaves every message as it is.

    A message is signed with all keys of one domain: that of its From, or else the closest one above or below it, so that the
    signature counts for DMARC (RFC 9989: aligned, in the relaxed mode). A message from any other domain is not signed.
    """

    def __init__(self, keys: Iterable[DkimKey] = ()) -> None:
        self._keys: dict[str, list[DkimKey]] = {}
        for key in keys:
            self._keys.setdefault(key.domain, []).append(key)
        # The mail of a batch often has one content for many recipients.
        self._sign_again = lru_cache(maxsize=2)(self.sign)

    def keys_for(self, domain: str) -> list[DkimKey]:
        """Return the keys that sign mail from *domain*; none if no key's domain is that, or above or below it."""
        if domain in self._keys:
            return self._keys[domain]
        related = [known for known in self._keys if _is_below(domain, known) or _is_below(known, domain)]
        closest = min(related, key=lambda known: (abs(known.count(".") - domain.count(".")), known), default="")
        return self._keys.get(closest, [])

    def sign(self, source: bytes, send_at: datetime | None = None) -> bytes:
        """Return the message *source* with a signature by each key for its sender; it has none yet.

        The signature dates from when the message goes out: *send_at*, or now.
        """
        keys = self.keys_for(_sender_domain(source)) if self._keys else []
        if not keys:
            return source
        head, _, body = source.partition(b"\r\n\r\n")
        headers: Headers = {}
        for name, line in relaxed_fields(head):
            headers.setdefault(name, []).append(line)
        body_hash = base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()).decode()
        moment = max(int(send_at.timestamp()) if send_at else 0, int(time.time()))
        names = signed_names(headers)
        data = signed_lines(names, headers)
        return b"".join([*(_signature(key, names, data, moment, body_hash) for key in keys), source])

    def renew(self, source: bytes) -> bytes:
        """Return *source* as ``sign`` does, unless it is signed already, by exactly the keys that would sign it now.

        Mail may have waited since a key was replaced, or have been stored by a process without the keys.
        """
        if not self._keys:
            return source
        end, made_with = 0, []
        while found := SIGNATURE.match(source, end):
            end = found.end()
            made_with.append(found.groups())
        keys = self.keys_for(_sender_domain(source, end))
        if not keys or made_with == [(key.algorithm.encode(), key.domain.encode(), key.selector.encode()) for key in keys]:
            return source
        return self._sign_again(source[end:] if end else source)


def _is_below(domain: str, other: str) -> bool:
    return domain.endswith(f".{other}")


def _sender_domain(source: bytes, start: int = 0) -> str:
    """Return the domain of the From; the writer puts it first, and *start* is where its signatures end."""
    found = FROM.match(source, start)
    return found[1].decode().lower() if found else ""


def _signature(key: DkimKey, names: tuple[bytes, ...], data: bytes, moment: int, body_hash: str) -> bytes:
    """Return the field DKIM-Signature: its own lines are signed too, with an empty ``b=``."""
    field = (
        f"DKIM-Signature: v=1; a={key.algorithm}-sha256; c=relaxed/relaxed;\r\n d={key.domain};\r\n s={key.selector};"
        f" t={moment};\r\n bh={body_hash};\r\n h={folded_names(names)};\r\n b="
    ).encode()
    ((_, line),) = relaxed_fields(field)
    signature = key.sign(data + line)
    lines = [signature[start : start + LINE] for start in range(0, len(signature), LINE)]
    return field + b"\r\n ".join(lines) + b"\r\n"
