"""Connects to whichever address of a host answers first, and encrypts the connection."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ..habits import Habits

# How long to wait for one address before trying the next one beside it, in seconds (RFC 8305, 5).
STAGGER = 0.25
# How often a long wait calls the guard, in seconds, to renew a lease or learn that it is lost.
GUARD_EVERY = 5.0


def dial(host: str, port: int, timeout: float, habits: Habits, guard: Callable[[], None]) -> socket.socket:
    """Return a connection to the first address of *host* that answers; raise OSError if none does within *timeout* seconds.

    An address that was still silent when another one answered is tried last from then on, until none answers. *guard* is
    called while waiting.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # Stable: among the others the resolver's order stays, which may balance the load.
    waiting = sorted(found, key=lambda entry: entry[4] in habits.silent)
    race = Race(timeout)
    try:
        while waiting or race.calls:
            guard()
            if waiting:
                family, _, protocol, _, address = waiting.pop(0)
                race.enter(family, protocol, address)
            winner = race.wait(STAGGER if waiting else GUARD_EVERY)
            if winner is not None:
                habits.silent = habits.silent - {winner.address} | {call.address for call in race.calls}
                return winner.sock
    finally:
        race.close()
    habits.silent = set()
    raise race.error


class Call(NamedTuple):
    """A connection that is being opened to *address*, and the ``time.monotonic()`` when to give up."""

    address: Any
    sock: socket.socket
    deadline: float


class Race:
    """Connections that are being opened at the same time; *timeout*, in seconds, limits each. ``error`` is the last failure."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self.calls: list[Call] = []
        self.error: OSError = TimeoutError("timed out")

    def enter(self, family: int, protocol: int, address: Any) -> None:
        """Begin to connect to *address*."""
        try:
            sock = socket.socket(family, socket.SOCK_STREAM, protocol)
        except OSError as error:  # a family that this host does not have
            self.error = error
            return
        sock.settimeout(0)
        call = Call(address, sock, time.monotonic() + self._timeout)
        self.calls.append(call)
        code = sock.connect_ex(address)
        if code not in {0, errno.EINPROGRESS}:
            self._lose(call, OSError(code, os.strerror(code)))

    def wait(self, seconds: float) -> Call | None:
        """Wait for at most *seconds* until a connection is open or has failed; return the open one."""
        if not self.calls:
            return None
        end = min(time.monotonic() + seconds, *(call.deadline for call in self.calls))
        poll = select.poll()
        for call in self.calls:
            poll.register(call.sock, select.POLLOUT)
        ready = {number for number, _ in poll.poll(max(end - time.monotonic(), 0) * 1000)}
        for call in list(self.calls):
            if call.sock.fileno() in ready:
                if self._is_open(call):
                    return call
            elif time.monotonic() >= call.deadline:
                self._lose(call, TimeoutError("timed out"))
        return None

    def _is_open(self, call: Call) -> bool:
        """Return whether *call* has succeeded; it leaves the race either way."""
        code = call.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._lose(call, OSError(code, os.strerror(code)))
            return False
        self.calls.remove(call)
        return True

    def _lose(self, call: Call, error: OSError) -> None:
        self.error = error
        self.calls.remove(call)
        call.sock.close()

    def close(self) -> None:
        """Give up the connections that are not open yet."""
        for call in self.calls:
            call.sock.close()
        self.calls.clear()


def shake_hands(sock: ssl.SSLSocket, timeout: float, guard: Callable[[], None]) -> None:
    """Do the TLS handshake on *sock* within *timeout* seconds, and call *guard* while waiting; raises OSError."""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        guard()
        sock.settimeout(min(left, GUARD_EVERY))
        try:
            sock.do_handshake()
        except TimeoutError:
            continue
        return
    message = f"the server did not finish the TLS handshake within {timeout:g} s"
    raise TimeoutError(message)
