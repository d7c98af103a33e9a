"""The spans of OpenTelemetry; the only module that imports it, and only in a traced host."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACEPARENT = "traceparent"
# The names of OpenTelemetry's conventions for messaging.
COMMON = {"messaging.system": "flask_outbox", "messaging.destination.name": "mail"}
ENQUEUE = COMMON | {"messaging.operation.name": "enqueue", "messaging.operation.type": "send"}
DELIVER = COMMON | {"messaging.operation.name": "deliver", "messaging.operation.type": "process"}

_tracer = trace.get_tracer("flask_outbox")
_propagator = TraceContextTextMapPropagator()


@contextmanager
def enqueueing(template: str | None) -> Iterator[Any]:
    """Give the span of an enqueue."""
    attributes = {"flask_outbox.template": template} if template else {}
    with _start("enqueue mail", trace.SpanKind.PRODUCER, ENQUEUE | attributes) as span:
        try:
            yield span
        except Exception as error:
            # Without its text, which may hold an address.
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


def delivering(email_id: int, traceparent: str | None) -> AbstractContextManager[Any]:
    """Return the span of an attempt; a *traceparent* that cannot be read begins a trace."""
    context = _propagator.extract({TRACEPARENT: traceparent or ""})
    return _start("deliver mail", trace.SpanKind.CONSUMER, DELIVER | {"flask_outbox.email_id": email_id}, context)


def _start(name: str, kind: trace.SpanKind, attributes: dict[str, Any], context: Any = None) -> AbstractContextManager[Any]:
    return _tracer.start_as_current_span(name, context, kind, attributes, record_exception=False, set_status_on_exception=False)


def note_outcome(outcome: str, code: int | None, *, is_error: bool) -> None:
    """Set the outcome of an attempt on the current span."""
    span = trace.get_current_span()
    span.set_attribute("flask_outbox.outcome", outcome)
    if code is not None:
        span.set_attribute("flask_outbox.smtp_code", code)
    if is_error:
        span.set_status(trace.StatusCode.ERROR, outcome)


def current_traceparent() -> str | None:
    """Return the current span as W3C Trace Context writes it; None without one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(TRACEPARENT)
