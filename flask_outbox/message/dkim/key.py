"""Read a DKIM key: ``SELECTOR:DOMAIN:KEY``, where KEY is the path of a PEM file, PEM itself, or its base64 on one line."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidMessage
from ..address import parse

if TYPE_CHECKING:
    from collections.abc import Callable

# RFC 6376, 3.1: labels with dots between them; the underscore is no part of the grammar, and in common use.
SELECTOR = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*", re.IGNORECASE | re.ASCII)
LONGEST_SELECTOR = 63
# RFC 8301, 3.2: shorter keys are weak, and no verifier has to accept longer ones.
SHORTEST_RSA, LONGEST_RSA = 2048, 4096
# A private key in DER begins with a SEQUENCE, which is an M in base64; the shortest, for Ed25519, has 64 characters.
BASE64 = re.compile(r"M[A-Za-z0-9+/\s]{59,}={0,2}")
EXAMPLE = "mail:example.com:/etc/dkim/mail.pem"


class InvalidKey(ValueError):  # noqa: N818 - the name says what is wrong, as InvalidMessage does
    """The entry is no key that can sign; the message says why, and holds nothing of the key."""


@dataclass(frozen=True)
class DkimKey:
    """A private key and the place in DNS where receivers find its public half: SELECTOR._domainkey.DOMAIN.

    *algorithm* is ``rsa`` or ``ed25519``.
    """

    selector: str
    domain: str
    algorithm: str
    private: Any = field(repr=False, compare=False)
    _sign: Callable[[bytes], bytes] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Return the name of its DNS record, without a dot at the end."""
        return f"{self.selector}._domainkey.{self.domain}"

    def sign(self, data: bytes) -> bytes:
        """Return the signature of *data* in base64."""
        return base64.b64encode(self._sign(data))


def read_key(entry: str) -> DkimKey:
    """Return the key that ``SELECTOR:DOMAIN:KEY`` describes; raise InvalidKey if it cannot sign."""
    selector, domain, source = _split(entry)
    private = _read_private(source, f"the key {selector} of {domain}")
    return make_key(selector, domain, private)


def make_key(selector: str, domain: str, private: Any) -> DkimKey:
    """Return the key for a *private* key of cryptography's; raise InvalidKey if DKIM has no use for it."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - optional: only MAIL_DKIM_KEYS needs it
    from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa  # noqa: PLC0415 - as above

    what = f"the key {selector} of {domain}"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        # RFC 8463, 3: it signs the hash, as if that were the message.
        return DkimKey(selector, domain, "ed25519", private, lambda data: private.sign(hashlib.sha256(data).digest()))
    if not isinstance(private, rsa.RSAPrivateKey):
        raise InvalidKey(f"{what} is neither RSA nor Ed25519, and DKIM has nothing else")
    if not SHORTEST_RSA <= private.key_size <= LONGEST_RSA:
        raise InvalidKey(f"{what} has {private.key_size} bits: an RSA key needs {SHORTEST_RSA} to {LONGEST_RSA}")
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    return DkimKey(selector, domain, "rsa", private, lambda data: private.sign(data, scheme, digest))


def check_place(selector: str, domain: str) -> tuple[str, str]:
    """Return the selector and the domain's ASCII form, in lower case; raise InvalidKey if one of them cannot be in DNS."""
    if len(selector) > LONGEST_SELECTOR or not SELECTOR.fullmatch(selector):
        raise InvalidKey("the selector is no name for DNS: use letters, digits and hyphens, as in mail or s2026-11")
    try:
        return selector.lower(), parse(f"dkim@{domain}", "the domain").domain.lower()
    except InvalidMessage:
        raise InvalidKey(f"the domain behind the selector {selector} is no domain name: it looks like example.com") from None


def _split(entry: str) -> tuple[str, str, str]:
    selector, _, rest = entry.strip().partition(":")
    domain, _, source = rest.partition(":")
    if not source.strip():
        # What is wrong with it is not shown: it may be a key alone.
        raise InvalidKey(f"it has to look like SELECTOR:DOMAIN:KEY, for example {EXAMPLE}")
    return *check_place(selector.strip(), domain.strip()), source.strip()


def _read_private(source: str, what: str) -> Any:
    if "-----BEGIN" in source:
        # An environment variable may hold the line breaks as \n.
        return _parse(source.replace("\\n", "\n").encode(), what)
    if BASE64.fullmatch(source):
        return _parse(source.encode(), what)
    try:
        return _parse(Path(source).read_bytes(), what)
    except FileNotFoundError:
        raise InvalidKey(f"{what} names a file that does not exist") from None
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidKey):
            raise
        raise InvalidKey(f"{what} names a file that cannot be read: {getattr(error, 'strerror', None) or 'invalid path'}") from None


@lru_cache(maxsize=16)
def _parse(data: bytes, what: str) -> Any:
    """Return the private key in *data*, which is PEM, or DER in base64. Checking an RSA key takes 40 ms, hence the cache."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

    if b"PUBLIC KEY" in data or b"CERTIFICATE" in data:
        raise InvalidKey(f"{what} is public: signing needs the private key")
    if b"ENCRYPTED" in data:
        raise InvalidKey(f"{what} is encrypted with a passphrase: decrypt it, with openssl pkey")
    try:
        if b"-----BEGIN" in data:
            return serialization.load_pem_private_key(data, None)
        return serialization.load_der_private_key(base64.b64decode(b"".join(data.split()), validate=True), None)
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        raise InvalidKey(f"{what} is no private key: it has to be PEM, or its base64 on one line") from None
