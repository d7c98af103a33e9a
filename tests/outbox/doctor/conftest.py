"""A DNS server on loopback that knows the records a test gives it, and a function that runs the doctor."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from flask_outbox.doctor.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask


class DnsServer:
    """Answers from ``records``, by name and type; ``asked`` is what it was asked. It says nothing while ``is_silent``."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.asked: list[str] = []
        self.is_silent = self.is_broken = False
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def txt(self, name: str, *texts: str) -> None:
        """Set the TXT records of *name*; a long text is cut into strings of 255, as DNS wants it."""
        cut = [[text[start : start + 255] for start in range(0, len(text), 255)] for text in texts]
        self.records[name, "TXT"] = [" ".join(f'"{part}"' for part in parts) for parts in cut]

    def stop(self) -> None:
        self._sock.sendto(b"", self._sock.getsockname())
        self._thread.join(5)
        self._sock.close()

    def _serve(self) -> None:
        while True:
            data, client = self._sock.recvfrom(4096)
            if not data:
                return
            if not self.is_silent:
                self._sock.sendto(self._answer(dns.message.from_wire(data)).to_wire(), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(name)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        found = self.records.get((name, kind))
        if self.is_broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif found:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        elif not any(known == name or known.endswith(f".{name}") for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    server = DnsServer()
    yield server
    server.stop()


@pytest.fixture
def resolver(dns_server: DnsServer) -> Resolver:
    return Resolver(dns_server.address)


@pytest.fixture
def doctor(dns_server: DnsServer) -> Callable[..., Any]:
    """A function that runs ``flask mail doctor`` for an app, with this test's DNS server."""

    def run(app: Flask, *words: str) -> Any:
        return app.test_cli_runner().invoke(args=["mail", "doctor", "--nameserver", dns_server.address, *words])

    return run
