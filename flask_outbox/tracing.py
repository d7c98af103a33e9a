"""OpenTelemetry spans: one for enqueueing a message, and one for each attempt to deliver it, in the same trace.

Only the API of OpenTelemetry is used; the host sets up its SDK. Without the package, nothing here costs more than a comparison.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # optional: pip install flask-outbox[otel]
    _tracer = None
else:
    # A proxy: it finds the provider that the host sets, also later.
    _tracer = trace.get_tracer("flask_outbox")
    _propagator = TraceContextTextMapPropagator()


TRACEPARENT = "traceparent"
# The names of OpenTelemetry's conventions for messaging.
COMMON = {"messaging.system": "flask_outbox", "messaging.destination.name": "mail"}


def is_traced() -> bool:
    """Return whether the host has set up its SDK: spans that nobody records would only cost time."""
    return _tracer is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def enqueueing(template: str | None) -> AbstractContextManager[Any]:
    """Return the span of an enqueue, made the current one; *template* is the template pair of the message."""
    if not is_traced():
        return nullcontext()
    return _enqueueing(template)


@contextmanager
def _enqueueing(template: str | None) -> Iterator[Any]:
    attributes = COMMON | {"messaging.operation.name": "enqueue", "messaging.operation.type": "send"}
    if template:
        attributes["flask_outbox.template"] = template
    with _start("enqueue mail", trace.SpanKind.PRODUCER, attributes) as span:
        try:
            yield span
        except Exception as error:
            # Without its text, which may hold an address.
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


def delivering(email_id: int, traceparent: str | None) -> AbstractContextManager[Any]:
    """Return the span of an attempt, made the current one; *traceparent* is what ``current_traceparent`` returned on enqueue."""
    if not is_traced():
        return nullcontext()
    attributes = COMMON | {"messaging.operation.name": "deliver", "messaging.operation.type": "process"}
    context = _propagator.extract({TRACEPARENT: traceparent or ""})
    return _start("deliver mail", trace.SpanKind.CONSUMER, attributes | {"flask_outbox.email_id": email_id}, context)


def _start(name: str, kind: Any, attributes: dict[str, Any], context: Any = None) -> AbstractContextManager[Any]:
    assert _tracer is not None  # noqa: S101 - the callers have asked is_traced()
    return _tracer.start_as_current_span(name, context, kind, attributes, record_exception=False, set_status_on_exception=False)


def note_outcome(outcome: str, code: int | None, *, is_error: bool) -> None:
    """Set the *outcome* of an attempt, and the SMTP reply *code*, on the current span; only if ``is_traced``."""
    span = trace.get_current_span()
    span.set_attribute("flask_outbox.outcome", outcome)
    if code is not None:
        span.set_attribute("flask_outbox.smtp_code", code)
    if is_error:
        span.set_status(trace.StatusCode.ERROR, outcome)


def current_traceparent() -> str | None:
    """Return the current span as W3C Trace Context writes it; None without one."""
    if not is_traced():
        return None
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get(TRACEPARENT)
