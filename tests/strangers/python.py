"""aiosmtpd, the server that many Python projects test and receive with."""

from __future__ import annotations

import sys

from tests.strangers.stranger import KeepsFiles

RECEIVE = """
import asyncio, itertools, pathlib, sys
from aiosmtpd.controller import Controller

folder, numbers = pathlib.Path(sys.argv[2]), itertools.count()

class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("noone@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        (folder / str(next(numbers))).write_bytes(envelope.content)
        return "250 OK"

Controller(Keep(), hostname="127.0.0.1", port=int(sys.argv[1])).start()
asyncio.new_event_loop().run_forever()
"""


class Aiosmtpd(KeepsFiles):
    """aiosmtpd's Controller with its defaults; it offers no PIPELINING."""

    name = "aiosmtpd"

    def start(self) -> None:
        (self.folder / "mail").mkdir()
        (self.folder / "receive.py").write_text(RECEIVE)
        self.run("server", sys.executable, self.folder / "receive.py", str(self.port), self.folder / "mail")
