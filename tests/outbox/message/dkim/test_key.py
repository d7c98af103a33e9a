"""A key is read from a file, from PEM and from one line; what is no key is told in a sentence that holds nothing of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from flask_outbox.message.dkim.key import InvalidKey, read_key
from flask_outbox.message.dkim.record import generate_key, private_line, private_pem, record_value, zone_line

if TYPE_CHECKING:
    from pathlib import Path

RSA, ED25519 = generate_key("mail", "b.example", "rsa"), generate_key("mail", "b.example", "ed25519")


def pem(private: Any, how: Any = form.PrivateFormat.PKCS8, lock: Any = None) -> str:
    return private.private_bytes(form.Encoding.PEM, how, lock or form.NoEncryption()).decode()


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_a_key_is_read_in_every_form(key: Any, tmp_path: Path) -> None:
    path = tmp_path / "a:key,with.pem"
    path.write_bytes(private_pem(key))
    text = private_pem(key).decode()
    for source in (
        str(path),
        text,
        text.replace("\n", "\\n"),
        private_line(key),
        f" {private_line(key)} ",
        text.replace("\n", "\r\n"),
    ):
        found = read_key(f"mail:b.example:{source}")
        assert (found, found.name, found.algorithm) == (key, "mail._domainkey.b.example", key.algorithm)
        assert found.sign(b"x") == key.sign(b"x")
        assert private_line(key)[20:40] not in repr(found)


def test_the_older_form_of_rsa_is_read_too() -> None:
    assert read_key(f"mail:b.example:{pem(RSA.private, form.PrivateFormat.TraditionalOpenSSL)}") == RSA


def test_capitals_and_letters_beyond_ascii_are_read_as_dns_has_them() -> None:
    key = read_key(f" S2026-11.Mail : Grüße.Example : {private_line(ED25519)}")
    assert key.name == "s2026-11.mail._domainkey.xn--gre-6ka8l.example"


SHORT = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = RSA.private.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()
UNUSABLE = {
    "nothing": ("", "has to look like SELECTOR:DOMAIN:KEY, for example mail:example.com:/"),
    "a key alone": (private_line(RSA), "has to look like"),
    "PEM alone": (pem(RSA.private), "has to look like"),
    "no key": ("mail:b.example: ", "has to look like"),
    "no selector": (f":b.example:{private_line(RSA)}", "the selector is no name for DNS"),
    "a selector with a space": (f"my mail:b.example:{private_line(RSA)}", "the selector is no name"),
    "a selector that is too long": (f"{'x' * 64}:b.example:{private_line(RSA)}", "the selector is no name"),
    "no domain": (f"mail::{private_line(RSA)}", "the domain behind the selector mail is no domain name"),
    "an address": (f"mail:me@b.example:{private_line(RSA)}", "the domain behind the selector mail"),
    "no file": ("mail:b.example:/gone/s3cr3t.pem", "the key mail of b.example names a file that does not exist"),
    "a folder": ("mail:b.example:/", "names a file that cannot be read: Is a directory"),
    "a NUL": ("mail:b.example:a\0b", "names a file that cannot be read"),
    "an endless name": (f"mail:b.example:{'x' * 5000}", "names a file that cannot be read: File name too long"),
    "half a key": (f"mail:b.example:{private_line(RSA)[:300]}", "the key mail of b.example is no private key"),
    "half of PEM": (f"mail:b.example:{pem(RSA.private)[:300]}", "is no private key"),
    "a public key": (f"mail:b.example:{PUBLIC}", "is public: signing needs the private key"),
    "a certificate": ("mail:b.example:-----BEGIN CERTIFICATE-----\nx", "is public"),
    "a passphrase": (
        f"mail:b.example:{pem(RSA.private, lock=form.BestAvailableEncryption(b's3cr3t'))}",
        "is encrypted with a passphrase",
    ),
    "1024 bits": (f"mail:b.example:{pem(SHORT)}", "has 1024 bits: an RSA key needs 2048 to 4096"),
    "a curve": (f"mail:b.example:{pem(CURVE)}", "is neither RSA nor Ed25519"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_is_no_key_is_told_without_showing_it(what: str) -> None:
    entry, problem = UNUSABLE[what]
    with pytest.raises(InvalidKey) as raised:
        read_key(entry)
    assert problem in str(raised.value)
    assert str(raised.value).isprintable()
    for start in range(0, len(private_line(RSA)) - 12, 12):
        assert private_line(RSA)[start : start + 12] not in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


def test_the_record_of_rsa_is_split_and_that_of_ed25519_is_short() -> None:
    line = zone_line(RSA.name, record_value(RSA))
    strings = re.findall(r'"([^"]*)"', line)
    assert line.startswith('mail._domainkey.b.example. IN TXT ( "v=DKIM1; k=rsa; p=MII')
    assert [len(string) <= 255 for string in strings] == [True, True]
    assert "".join(strings) == record_value(RSA)
    short = record_value(ED25519)
    assert short.startswith("v=DKIM1; k=ed25519; p=")
    assert len(short.partition("p=")[2]) == 44
