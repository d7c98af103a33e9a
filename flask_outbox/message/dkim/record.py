"""Make a new key, and write down its public half as the TXT record that receivers look for in DNS."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from .key import SHORTEST_RSA, DkimKey, check_place, make_key

if TYPE_CHECKING:
    from collections.abc import Iterable

ALGORITHMS = ("rsa", "ed25519")
# RFC 1035, 3.3: a string in a TXT record has 255 bytes at most; receivers join the strings (RFC 6376, 3.6.2.2).
LONGEST_STRING = 255


def generate_key(selector: str, domain: str, algorithm: str) -> DkimKey:
    """Return a new key; raise InvalidKey if *selector* or *domain* cannot be in DNS. *algorithm* is one of ALGORITHMS."""
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa  # noqa: PLC0415 - optional: only DKIM needs it

    selector, domain = check_place(selector, domain)
    # RFC 8301, 3.2; the record of a longer RSA key is more than some providers' forms take.
    private: Any = rsa.generate_private_key(65537, SHORTEST_RSA) if algorithm == "rsa" else ed25519.Ed25519PrivateKey.generate()
    return make_key(selector, domain, private)


def record_value(key: DkimKey) -> str:
    """Return the text of the DNS record of *key* (RFC 6376, 3.6.1; RFC 8463, 4)."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - as above

    public = key.private.public_key()
    data = (
        public.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
        if key.algorithm == "rsa"
        else public.public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
    )
    return f"v=DKIM1; k={key.algorithm}; p={base64.b64encode(data).decode()}"


def zone_line(name: str, value: str) -> str:
    """Return the TXT record as a zone file holds it, in strings of the length that DNS allows."""
    return f"{name}. IN TXT ( {' '.join(_quoted(value))} )"


def private_pem(key: DkimKey) -> bytes:
    """Return the private key as PEM, without a passphrase."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - as above

    pem: bytes = key.private.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return pem


def private_line(key: DkimKey) -> str:
    """Return the private key on one line, as an environment variable holds it: PEM without its first and last line."""
    return "".join(private_pem(key).decode().splitlines()[1:-1])


def _quoted(value: str) -> Iterable[str]:
    return (f'"{value[start : start + LONGEST_STRING]}"' for start in range(0, len(value), LONGEST_STRING))
