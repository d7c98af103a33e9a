"""Traces: a span for enqueueing a message, and one for each attempt to deliver it, if the host uses OpenTelemetry.

A host that is traced has imported OpenTelemetry, so this module does not: without a traced host, it costs a comparison.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def is_traced() -> bool:
    """Return whether the host has set up OpenTelemetry's SDK: spans that nobody records would only cost time."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    # Another thread may be importing it.
    read_provider = getattr(trace, "get_tracer_provider", None)
    return read_provider is not None and not isinstance(read_provider(), trace.ProxyTracerProvider)


def enqueueing(template: str | None) -> AbstractContextManager[Any]:
    """Return the span of an enqueue, made the current one; *template* is the template pair of the message."""
    if not is_traced():
        return nullcontext()
    from . import spans  # noqa: PLC0415 - needs OpenTelemetry

    return spans.enqueueing(template)


def delivering(email_id: int, traceparent: str | None) -> AbstractContextManager[Any]:
    """Return the span of an attempt, made the current one; *traceparent* is what ``current_traceparent`` returned on enqueue."""
    if not is_traced():
        return nullcontext()
    from . import spans  # noqa: PLC0415 - as above

    return spans.delivering(email_id, traceparent)


def note_outcome(outcome: str, code: int | None, *, is_error: bool) -> None:
    """Set the *outcome* of an attempt, and the SMTP reply *code*, on the current span; only if ``is_traced``."""
    from . import spans  # noqa: PLC0415 - as above

    spans.note_outcome(outcome, code, is_error=is_error)


def current_traceparent() -> str | None:
    """Return the current span as W3C Trace Context writes it; None without one."""
    if not is_traced():
        return None
    from . import spans  # noqa: PLC0415 - as above

    return spans.current_traceparent()
