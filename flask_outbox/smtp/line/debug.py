"""Show the SMTP conversation in the log (MAIL_DEBUG): every command and reply, without passwords, tokens and message bodies."""

from __future__ import annotations

import logging
import sys

# That of the whole room.
log = logging.getLogger(__package__.rpartition(".")[0])

HIDDEN = "***"


def show_conversation() -> None:
    """Log the conversations of this process, and print them to standard error while the host has not configured logging."""
    log.setLevel(logging.DEBUG)
    if not any(isinstance(handler, _LastResort) for handler in log.handlers):
        log.addHandler(_LastResort())


def note_commands(*commands: str) -> None:
    """Log *commands*, which are about to be written."""
    if log.isEnabledFor(logging.DEBUG):
        for command in commands:
            log.debug("client: %s", command)


def note_login(command: str) -> None:
    """Log one line of a login: its mechanism, and none of its secrets, which may come in the same line or in one of their own."""
    verb, _, rest = command.partition(" ")
    note_commands(f"AUTH {rest.partition(' ')[0]} {HIDDEN}" if verb == "AUTH" else HIDDEN)


def note_message(size: int) -> None:
    """Log that a message of *size* bytes is written; its text is nobody's business."""
    log.debug("client: (a message of %d bytes)", size)


def note_reply(code: int, lines: list[bytes]) -> None:
    """Log a reply."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("server: %d %s", code, b" / ".join(lines).decode("utf-8", "backslashreplace"))


class _LastResort(logging.Handler):
    """Prints a record to standard error if no other handler does: Python's own last resort prints only warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_alone(record.name):
            print(self.format(record), file=sys.stderr)  # noqa: T201 - that is its job

    def _is_alone(self, name: str) -> bool:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True
