"""Verify DKIM signatures with dkimpy, and once more by the letter of RFC 6376 with openssl: two that share no code with us."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import dkim

from flask_outbox.message.dkim.record import record_value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flask_outbox.message.dkim.key import DkimKey

# What DNS answers: the text of a TXT record, by its name without a dot at the end.
Records = dict[str, str]
# RFC 8410, 4: what precedes the 32 bytes of a public Ed25519 key in DER.
ED25519 = bytes.fromhex("302a300506032b6570032100")


def records_of(keys: Iterable[DkimKey]) -> Records:
    return {key.name: record_value(key) for key in keys}


def verified(source: bytes, records: Records) -> list[str]:
    """Return the selector of each signature that both verifiers accept, from the top; they have to agree on every one."""
    found = by_openssl(source, records)
    assert by_dkimpy(source, records) == found
    return [selector for selector, is_good in found if is_good]


def by_dkimpy(source: bytes, records: Records) -> list[tuple[str, bool]]:
    """Return the selector of each signature, and whether dkimpy accepts it."""

    def look_up(name: bytes, timeout: int = 5) -> bytes:
        return records.get(name.decode().rstrip("."), "").encode()

    found = []
    for index in range(len([name for name, _ in fields_of(source) if name == b"dkim-signature"])):
        verifier = dkim.DKIM(source)
        try:
            is_good = verifier.verify(index, dnsfunc=look_up)
        except dkim.DKIMException:
            is_good = False
        selector = verifier.signature_fields[b"s"] if verifier.signature_fields else b""
        found.append((selector.decode(), is_good))
    return found


def by_openssl(source: bytes, records: Records) -> list[tuple[str, bool]]:
    """Return the selector of each signature, and whether it holds by RFC 6376, 3.7 and 6.1, with openssl for the arithmetic."""
    signatures = [field for name, field in fields_of(source) if name == b"dkim-signature"]
    return [(tags_of(field)["s"], _holds(source, field, records)) for field in signatures]


def fields_of(source: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields of the header, each with its name in lower case, as they stand there."""
    fields: list[bytes] = []
    for line in source.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        if line[:1] in {b" ", b"\t"}:
            fields[-1] += b"\r\n" + line
        else:
            fields.append(line)
    return [(field.split(b":", 1)[0].strip().lower(), field) for field in fields]


def tags_of(field: bytes) -> dict[str, str]:
    value = field.decode().split(":", 1)[1]
    pairs = [tag.split("=", 1) for tag in value.split(";") if tag.strip()]
    assert len({name.strip() for name, _ in pairs}) == len(pairs)
    return {name.strip(): re.sub(r"\s", "", text) for name, text in pairs}


def _relaxed_field(field: bytes) -> bytes:
    name, value = field.split(b":", 1)
    words = [word for word in re.split(rb"[ \t\r\n]+", value) if word]
    return name.strip(b" \t").lower() + b":" + b" ".join(words)


def _relaxed_body(body: bytes) -> bytes:
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def _holds(source: bytes, signature: bytes, records: Records) -> bool:
    tags = tags_of(signature)
    assert (tags["v"], tags["c"]) == ("1", "relaxed/relaxed")
    body_hash = base64.b64encode(hashlib.sha256(_relaxed_body(source.partition(b"\r\n\r\n")[2])).digest()).decode()
    if body_hash != tags["bh"]:
        return False
    left = fields_of(source)
    data = b""
    for name in tags["h"].split(":"):
        index = max((index for index, (known, _) in enumerate(left) if known == name.encode()), default=None)
        if index is not None:
            data += _relaxed_field(left.pop(index)[1]) + b"\r\n"
    data += re.sub(rb"([;\s]b=)[^;]*$", rb"\1", _relaxed_field(signature))
    record = dict(tag.strip().split("=", 1) for tag in records.get(f"{tags['s']}._domainkey.{tags['d']}", "").split(";") if tag)
    return record.get("k", "") == tags["a"].split("-", maxsplit=1)[0] and _openssl(
        tags["a"], base64.b64decode(record["p"]), data, base64.b64decode(tags["b"])
    )


def _openssl(algorithm: str, public: bytes, data: bytes, signature: bytes) -> bool:
    is_rsa = algorithm == "rsa-sha256"
    der = public if is_rsa else ED25519 + public
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key").write_text(f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(der).decode()}-----END PUBLIC KEY-----\n")
        (folder / "signature").write_bytes(signature)
        (folder / "data").write_bytes(data if is_rsa else hashlib.sha256(data).digest())
        rsa = ["dgst", "-sha256", "-verify", "key", "-signature", "signature", "data"]
        ed25519 = ["pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "data", "-sigfile", "signature"]
        done = subprocess.run(["openssl", *(rsa if is_rsa else ed25519)], cwd=folder, capture_output=True, check=False, timeout=30)
    return done.returncode == 0
