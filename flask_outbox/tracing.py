"""OpenTelemetry spans: one for enqueueing a message, and one for each attempt to deliver it, in the same trace.

Only the API of OpenTelemetry is used; the host sets up its SDK. Without the package, nothing here costs more than a comparison.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # optional: pip install flask-outbox[otel]
    _tracer = None
else:
    # A proxy: it finds the provider that the host sets, also later.
    _tracer = trace.get_tracer("flask_outbox")
    _propagator = TraceContextTextMapPropagator()


def _is_on() -> bool:
    """Return whether the host has set up its SDK: spans that nobody records would cost 20 µs for each email."""
    return _tracer is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


TRACEPARENT = "traceparent"
# The names of OpenTelemetry's conventions for messaging.
COMMON = {"messaging.system": "flask_outbox", "messaging.destination.name": "mail"}


def enqueueing(template: str | None) -> AbstractContextManager[Any]:
    """Return the span of an enqueue, made the current one; *template* is the template pair of the message."""
    if not _is_on() or _tracer is None:
        return nullcontext()
    attributes = COMMON | {"messaging.operation.name": "enqueue", "messaging.operation.type": "send"}
    if template:
        attributes["flask_outbox.template"] = template
    # An error's text may hold an address; the span of the request records the error anyway.
    return _tracer.start_as_current_span(
        "enqueue mail", kind=trace.SpanKind.PRODUCER, attributes=attributes, record_exception=False
    )


def delivering(email_id: int, traceparent: str | None) -> AbstractContextManager[Any]:
    """Return the span of an attempt, made the current one; *traceparent* is what ``current_traceparent`` returned on enqueue."""
    if not _is_on() or _tracer is None:
        return nullcontext()
    attributes = COMMON | {"messaging.operation.name": "deliver", "messaging.operation.type": "process"}
    return _tracer.start_as_current_span(
        "deliver mail",
        context=_propagator.extract({TRACEPARENT: traceparent or ""}),
        kind=trace.SpanKind.CONSUMER,
        attributes=attributes | {"flask_outbox.email_id": email_id},
        record_exception=False,
        set_status_on_exception=False,
    )


def note_outcome(outcome: str, code: int | None, *, is_error: bool) -> None:
    """Set the *outcome* of an attempt, and the SMTP reply *code*, on the current span."""
    if not _is_on():
        return
    span = trace.get_current_span()
    span.set_attribute("flask_outbox.outcome", outcome)
    if code is not None:
        span.set_attribute("flask_outbox.smtp_code", code)
    if is_error:
        span.set_status(trace.StatusCode.ERROR, outcome)


def current_traceparent() -> str | None:
    """Return the current span as W3C Trace Context writes it; None without one."""
    if not _is_on():
        return None
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(TRACEPARENT)
