"""An SMTP server that takes everything and keeps only when each letter came: ``python -m bench.sink PORT RECORD``.

One thread, one epoll loop. Commands may come pipelined, the next envelope in the same write as a body (RFC 2920); whatever
one read brings is answered by one write. RECORD gets a line for each letter: its number, and CLOCK_MONOTONIC in nanoseconds
just before its 250 was written.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import time

from bench.letter import NUMBER

READ = 1 << 18
END = b"\r\n.\r\n"
OK, GO_ON, BYE, UNKNOWN = (
    b"250 2.0.0 Ok\r\n",
    b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"221 2.0.0 Bye\r\n",
    b"500 5.5.1 Unknown\r\n",
)
# The server has no mail: it answers by the first word alone.
REPLIES = {b"MAIL": OK, b"RCPT": OK, b"RSET": OK, b"NOOP": OK, b"DATA": GO_ON, b"QUIT": BYE, b"HELO": b"250 sink\r\n"}


class Line:
    """One connection: what has come and is not yet answered."""

    def __init__(self, connection: socket.socket, greeting: bytes, delay: float) -> None:
        self._connection = connection
        self._delay = delay
        self._replies = REPLIES | {b"EHLO": greeting}
        self._waiting = b""
        self._is_body = False
        self._say([b"220 sink ESMTP\r\n"])

    def _say(self, replies: list[bytes]) -> None:
        # Replies are small, and their reader waits for them: a blocking write never blocks for long.
        self._connection.setblocking(True)  # noqa: FBT003 - the standard library's own
        self._connection.sendall(b"".join(replies))
        self._connection.setblocking(False)  # noqa: FBT003

    def read(self, record: int) -> bool:
        """Answer what one read brings; return whether the line stays open."""
        try:
            chunk = self._connection.recv(READ)
        except ConnectionError:
            return False
        if not chunk:
            return False
        replies, arrived = self._take(self._waiting + chunk)
        if replies:
            now = time.monotonic_ns()
            self._say(replies)
            if arrived:
                os.write(record, b"".join(b"%s %d\n" % (number, now) for number in arrived))
        return BYE not in replies

    def _take(self, data: bytes) -> tuple[list[bytes], list[bytes]]:
        """Return the replies to all that is whole in *data*, and the numbers of the letters in it; keep the rest."""
        start, replies, arrived = 0, [], []
        while True:
            reply, number, end = self._next(data, start)
            if reply is None:
                break
            start = end
            replies.append(reply)
            if number:
                arrived.append(number)
            if self._delay:
                # One line at a time is all that a server this slow is asked for.
                time.sleep(self._delay)
        self._waiting = data[start:]
        return replies, arrived

    def _next(self, data: bytes, start: int) -> tuple[bytes | None, bytes, int]:
        """Return the reply to what comes next in *data*, the letter's number if it was one, and where it ends."""
        if self._is_body:
            found = data.find(END, start)
            if found < 0:
                return None, b"", start
            self._is_body = False
            number = NUMBER.search(data, start, found)
            return OK, number[1] if number else b"-1", found + len(END)
        found = data.find(b"\r\n", start)
        if found < 0:
            return None, b"", start
        reply = self._replies.get(data[start : start + 4].upper(), UNKNOWN)
        self._is_body = reply is GO_ON
        return reply, b"", found + 2

    def close(self) -> None:
        """Close the line."""
        self._connection.close()


def serve(listener: socket.socket, record: int, greeting: bytes, delay: float) -> None:
    """Answer every line until the process is ended."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connection, selectors.EVENT_READ, Line(connection, greeting, delay))
                elif not key.data.read(record):
                    selector.unregister(key.fileobj)
                    key.data.close()


def main() -> None:
    """Listen on loopback, and serve."""
    parser = argparse.ArgumentParser(description="Take every mail, and note when it came.")
    parser.add_argument("port", type=int)
    parser.add_argument("record")
    parser.add_argument("--no-pipelining", action="store_true", help="do not announce PIPELINING")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each reply")
    arguments = parser.parse_args()
    announced = ["sink", *([] if arguments.no_pipelining else ["PIPELINING"]), "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 33554432"]
    lines = [f"250{' ' if one == announced[-1] else '-'}{one}\r\n" for one in announced]
    record = os.open(arguments.record, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    with socket.create_server(("127.0.0.1", arguments.port), backlog=512) as listener:
        serve(listener, record, "".join(lines).encode(), arguments.delay)


if __name__ == "__main__":
    main()
