"""OpenTelemetry: one trace from the request to the server's reply, if the host is traced; nothing otherwise."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flask_outbox import Email, tracing
from flask_outbox import spans as spans_module
from flask_outbox.testing import reply
from flasky.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from flask_outbox.testing import SmtpServer

Put, Deliver, Spans = "Callable[..., Email]", "Callable[[], int]", "Callable[[], list[ReadableSpan]]"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[ReadableSpan]]]:
    """A function that returns the finished spans of a host that is traced for this test alone."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # Set for good once in a process by its public function.
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(spans_module, "_tracer", provider.get_tracer("flask_outbox"))
    yield lambda: list(exporter.get_finished_spans())
    provider.shutdown()


def test_one_trace_from_the_request_to_the_acceptance(spans: Spans, put: Put, deliver: Deliver) -> None:
    with spans_module._tracer.start_as_current_span("POST /order") as request:
        put()
    deliver()
    enqueued, _, delivered = spans()
    assert (enqueued.name, enqueued.kind) == ("enqueue mail", trace.SpanKind.PRODUCER)
    assert (delivered.name, delivered.kind) == ("deliver mail", trace.SpanKind.CONSUMER)
    assert {span.context.trace_id for span in (enqueued, delivered)} == {request.get_span_context().trace_id}
    assert delivered.parent.span_id == enqueued.context.span_id
    assert (delivered.parent.is_remote, delivered.status.status_code) == (True, trace.StatusCode.UNSET)
    assert dict(delivered.attributes) == {
        "messaging.system": "flask_outbox",
        "messaging.destination.name": "mail",
        "messaging.operation.name": "deliver",
        "messaging.operation.type": "process",
        "flask_outbox.email_id": 1,
        "flask_outbox.outcome": "sent",
        "flask_outbox.smtp_code": 250,
    }


def test_a_refusal_is_an_error_without_the_address(spans: Spans, put: Put, deliver: Deliver, smtp: SmtpServer) -> None:
    smtp.on("RCPT", reply("550 5.1.1 <susan@example.com> unknown"))
    put("susan@example.com")
    deliver()
    delivered = spans()[-1]
    assert (delivered.status.status_code, delivered.status.description) == (trace.StatusCode.ERROR, "refused")
    assert delivered.attributes["flask_outbox.smtp_code"] == 550
    assert "susan" not in delivered.to_json()


def test_a_message_that_cannot_be_enqueued_is_an_error_without_the_address(
    spans: Spans, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("susan@example.com")

    monkeypatch.setattr("flask_outbox.store.enqueue.Enqueuer.enqueue", fail)
    with pytest.raises(RuntimeError):
        put("susan@example.com")
    (enqueued,) = spans()
    assert (enqueued.status.status_code, enqueued.status.description) == (trace.StatusCode.ERROR, "RuntimeError")
    assert "susan" not in enqueued.to_json()


def test_every_attempt_is_a_span_of_the_same_trace(
    spans: Spans, put: Put, deliver: Deliver, smtp: SmtpServer, due: Callable[[], None]
) -> None:
    smtp.on("RCPT", reply("451 4.7.1 later"))
    put()
    deliver()
    due()
    deliver()
    names = [(span.name, span.attributes.get("flask_outbox.outcome")) for span in spans()]
    assert names == [("enqueue mail", None), ("deliver mail", "deferred"), ("deliver mail", "sent")]
    assert len({span.context.trace_id for span in spans()}) == 1


def test_a_server_that_cannot_be_used_ends_its_span(spans: Spans, put: Put, deliver: Deliver, smtp: SmtpServer) -> None:
    smtp.on("MAIL", reply("530 5.7.0 Authentication required"), always=True)
    put()
    deliver()
    delivered = spans()[-1]
    assert (delivered.status.description, delivered.attributes["flask_outbox.outcome"]) == ("unavailable", "unavailable")
    assert not delivered.events


def test_an_email_of_an_untraced_process_begins_a_trace(put: Put, deliver: Deliver, request: pytest.FixtureRequest) -> None:
    put()
    assert db.session.get_one(Email, 1).content.traceparent is None
    spans: Spans = request.getfixturevalue("spans")
    deliver()
    (delivered,) = spans()
    assert delivered.parent is None


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", None])
def test_a_broken_traceparent_does_not_keep_mail_from_going_out(spans: Spans, traceparent: str | None) -> None:
    with tracing.delivering(1, traceparent):
        assert tracing.current_traceparent() is not None
    assert spans()[0].parent is None


def test_a_traceparent_fits_its_column(spans: Spans, put: Put) -> None:
    put()
    stored = db.session.get_one(Email, 1).content.traceparent
    assert stored == tracing.current_traceparent() or len(stored or "") == 55


def test_an_untraced_host_gets_no_spans() -> None:
    with tracing.delivering(1, None) as span, tracing.enqueueing("mail/x") as other:
        assert tracing.current_traceparent() is None
    assert (span, other, tracing.is_traced()) == (None, None, False)


def test_a_host_that_is_set_up_after_the_import_is_traced_too() -> None:
    program = """
import sys
from flask_outbox import tracing
assert not tracing.is_traced()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
from opentelemetry import trace
assert not tracing.is_traced()
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
assert tracing.is_traced()
with tracing.delivering(1, None) as span:
    tracing.note_outcome("sent", 250, is_error=False)
    assert tracing.current_traceparent().split("-")[1] == format(span.get_span_context().trace_id, "032x")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_without_the_package_everything_works() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = sys.modules["opentelemetry.trace"] = None
from flask_outbox import tracing
with tracing.enqueueing("mail/x"), tracing.delivering(1, None):
    assert tracing.current_traceparent() is None
assert not tracing.is_traced()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
