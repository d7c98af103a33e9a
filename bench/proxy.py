"""A TCP proxy that makes a server far: ``python -m bench.proxy LISTEN TO --delay 0.02 --record PATH``.

Each chunk is passed on so many seconds after it came, in each direction; chunks that follow each other are under way together.
PATH holds how many connections have been open at once at most, and how many there were.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

READ = 1 << 16


@dataclass
class Count:
    """How many connections are open, were open at most, and were made."""

    record: Path
    now: int = 0
    most: int = 0
    total: int = 0

    def opened(self) -> None:
        """Count one more."""
        self.now, self.total = self.now + 1, self.total + 1
        self.most = max(self.most, self.now)
        self.record.write_text(f"{self.most} {self.total}\n")

    def closed(self) -> None:
        """Count one less."""
        self.now -= 1


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Pass on what comes, *delay* seconds later, until it ends."""
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def deliver() -> None:
        chunk = b" "
        while chunk:
            due, chunk = await on_the_way.get()
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            writer.write(chunk)
        with suppress(OSError):
            writer.write_eof()

    delivering = asyncio.create_task(deliver())
    chunk = b" "
    while chunk:
        try:
            chunk = await reader.read(READ)
        except ConnectionError:
            chunk = b""
        on_the_way.put_nowait((time.monotonic() + delay, chunk))
    await delivering


async def serve(listen: int, to: int, delay: float, count: Count) -> None:
    """Accept, and carry both ways."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The handshake's first way; its way back is what the greeting takes.
        await asyncio.sleep(delay)
        count.opened()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)

        async def carry_there() -> None:
            # Open and closed are meant as the server sees it.
            await carry(reader, far_writer, delay)
            count.closed()

        await asyncio.gather(carry_there(), carry(far_reader, writer, delay))
        for one in (far_writer, writer):
            one.close()

    server = await asyncio.start_server(accept, "127.0.0.1", listen)
    await server.serve_forever()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Make a server far.")
    parser.add_argument("listen", type=int)
    parser.add_argument("to", type=int)
    parser.add_argument("--delay", type=float, required=True)
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.listen, arguments.to, arguments.delay, Count(arguments.record)))


if __name__ == "__main__":
    main()
