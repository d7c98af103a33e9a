"""The metrics: the status of the outbox in Prometheus' words. They come from the database, so every web process says the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from ..store.models import Status
from ..store.status.activity import Result
from ..store.status.health import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from ..store.status.status import StatusReport

PREFIX = "flask_outbox"


def render(report: StatusReport, accept: str) -> tuple[bytes, str]:
    """Return *report* as metrics, and their content type, in the format that the header *accept* prefers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Outbox(report))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Outbox(Collector):
    """A collector for one scrape, of one *report*."""

    def __init__(self, report: StatusReport) -> None:
        self._report = report

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; without a usable database, those of health alone."""
        yield from _health(self._report)
        if self._report.activity is not None:
            yield from _emails(self._report)
            yield from _attempts(self._report)
            yield from _workers(self._report)


def _gauge(name: str, meaning: str, values: dict[str, float], label: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", meaning, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _health(report: StatusReport) -> Iterator[Metric]:
    red = {problem.reason for problem in report.health.problems}
    yield GaugeMetricFamily(f"{PREFIX}_healthy", "1 if mail goes out, 0 if somebody should look.", float(not red))
    reasons = {reason: float(reason in red) for reason in get_args(Reason)}
    yield _gauge("problem", "1 for each reason for which mail does not go out.", reasons, "reason")
    if report.redis is not None:
        yield GaugeMetricFamily(f"{PREFIX}_redis_up", "1 if Redis answers.", float(report.redis.problem is None))


def _emails(report: StatusReport) -> Iterator[Metric]:
    if report.counts is not None:
        counts = {status.value: float(report.counts.get(status, 0)) for status in Status}
        yield _gauge("emails", "Emails in the outbox by status.", counts, "status")
    yield GaugeMetricFamily(f"{PREFIX}_due", "Emails that are due now, up to 100,000 of each priority.", report.waiting.due)
    oldest = report.waiting.oldest
    age = max((datetime.now(UTC) - oldest).total_seconds(), 0.0) if oldest else 0.0
    yield GaugeMetricFamily(f"{PREFIX}_oldest_due_seconds", "For how long the oldest due email has been due; 0 if none is.", age)


def _attempts(report: StatusReport) -> Iterator[Metric]:
    if report.activity is None:
        return
    # The id of the newest attempt: a count of the rows would go down with each purge.
    meaning = "Attempts to transmit an email, ever; PostgreSQL leaves out a number now and then."
    yield CounterMetricFamily(f"{PREFIX}_attempts", meaning, report.activity.newest_id)
    counts = report.activity.latest().counts
    latest = {result.value.replace(" ", "_"): float(counts[result]) for result in Result}
    meaning = "Attempts that began in the last five minutes of the clock that are over, such as 12:00 to 12:05."
    yield _gauge("attempts_last_5_minutes", meaning, latest, "outcome")
    if report.delivery_time is not None:
        times = {"0.5": report.delivery_time.median, "0.95": report.delivery_time.p95}
        meaning = "Seconds from the commit, or from when it was due, to the acceptance: of the newest 1000 of the last day."
        yield _gauge("delivery_seconds", meaning, times, "quantile")
        last = report.delivery_time.last.timestamp()
        yield GaugeMetricFamily(f"{PREFIX}_last_accepted_timestamp_seconds", "When an email was last accepted.", last)


def _workers(report: StatusReport) -> Iterator[Metric]:
    lost = sum(worker.is_lost for worker in report.workers)
    states = {"running": float(len(report.workers) - lost), "lost": float(lost)}
    yield _gauge("workers", "Long-running workers; a lost one is shown for a day.", states, "state")
