"""The overview: whether mail goes out, how much, how fast, by which workers, and what failed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import render_template, request

from ...state import current_state
from ...store.models import Status
from ...store.reading.search import quoted
from ...store.status.activity import Period, Result, Step
from ...store.status.waiting import MOST_COUNTED
from ..chart import Bar, draw
from ..display import duration, number

if TYPE_CHECKING:
    from flask import Blueprint
    from flask.typing import ResponseReturnValue
    from markupsafe import Markup

    from ...store.status.groups import FailureGroup
    from ...store.status.status import StatusReport

# How long an answer may spend on figures that are not fresh, in seconds; see StatusReader.
BUDGET = 0.03
# Most groups of failures on the page.
MOST_GROUPS = 20
# A shorter time is shown with its tenth of a second.
ONE_MILLISECOND, ONE_MINUTE = 0.001, 60.0
ZERO = timedelta(0)
# How the beginning of a step is written, and how long the period and the step are called.
WORDS = {
    Period.HOUR: ("%H:%M", "the last hour", "every five minutes"),
    Period.DAY: ("%H:%M", "the last 24 hours", "by the hour"),
    Period.WEEK: ("%a %d", "the last 7 days", "every six hours"),
}
KINDS = {Result.SENT: "good", Result.PUT_OFF: "wait", Result.REFUSED: "bad"}


class Row(NamedTuple):
    """A row of the table beside a chart; *value* is None if it is not counted yet."""

    start: str
    value: int | None


class Chart(NamedTuple):
    """A chart, its *title*, the *total*, and its figures as a table."""

    title: str
    kind: str
    total: int
    is_counted: bool
    svg: Markup
    rows: list[Row]


def add_routes(bp: Blueprint) -> None:
    """Add the page, and its content alone, which the page fetches again and again."""
    bp.add_url_rule("/", "overview", overview)
    bp.add_url_rule("/overview/", "overview_content", overview_content)


def overview() -> ResponseReturnValue:
    """Show the overview."""
    return render_template("mail_desk/overview.html", **_read())


def overview_content() -> ResponseReturnValue:
    """Return the content of the page, for ``refresh.js``."""
    return render_template("mail_desk/_overview.html", **_read())


def _read() -> dict[str, Any]:
    period = _period()
    report = current_state().status_reader.read(period, BUDGET)
    _, words, parts = WORDS[period]
    pace, steps = report.delivery_time, report.activity.steps(period) if report.activity else []
    return {
        "report": report,
        "headline": headline(report),
        "period": period,
        "periods": [(one, WORDS[one][1]) for one in Period],
        "period_words": words,
        "steps": parts,
        "charts": [_chart(steps, result, period) for result in Result if steps],
        "counts": [(status.value, None if report.counts is None else report.counts.get(status, 0)) for status in Status],
        "median": precise(pace.median) if pace else None,
        "p95": precise(pace.p95) if pace else None,
        "groups": [(group, _search_line(group)) for group in report.groups[:MOST_GROUPS]],
        "more_groups": max(len(report.groups) - MOST_GROUPS, 0),
        "precise": precise,
    }


def _period() -> Period:
    asked = request.args.get("period", "")
    return Period(asked) if asked in set(Period) else Period.DAY


def headline(report: StatusReport) -> str:
    """Return in a sentence or two whether mail goes out, and what waits."""
    waiting, is_healthy = report.waiting, report.health.is_healthy
    answer = "Mail goes out." if is_healthy else "Mail does not go out."
    if waiting.oldest is None:
        return f"{answer} {_nothing_due(report.counts)}" if is_healthy else answer
    many = f"More than {number(MOST_COUNTED)}" if waiting.due >= MOST_COUNTED else number(waiting.due)
    return f"{answer} {many} waiting, the oldest for {duration(max(datetime.now(UTC) - waiting.oldest, ZERO))}."


def _nothing_due(counts: dict[str, int] | None) -> str:
    if counts is None:
        return "Nothing is due."
    scheduled = counts.get(Status.QUEUED, 0)
    return f"Nothing is due; {number(scheduled)} scheduled for later." if scheduled else "Nothing is waiting."


def precise(seconds: float) -> str:
    """Return *seconds* in words, with a tenth of a second below a minute: "41 ms", "3.2 s", "5 minutes"."""
    if seconds < ONE_MILLISECOND:
        return "less than 1 ms"
    return f"{seconds:.1f} s" if 1 <= seconds < ONE_MINUTE else duration(seconds)


def _chart(steps: list[Step], result: Result, period: Period) -> Chart:
    total, is_counted = sum(step.counts[result] for step in steps), all(step.is_counted for step in steps)
    title = str(result.value).capitalize()
    summary = f"{title} in {WORDS[period][1]}: {number(total)}. The figures follow as a table."
    svg = draw([_bar(step, result, period) for step in steps], summary, KINDS[result])
    rows = [Row(_full(step.start, period), step.counts[result] if step.is_counted else None) for step in reversed(steps)]
    return Chart(title, KINDS[result], total, is_counted, svg, rows)


def _bar(step: Step, result: Result, period: Period) -> Bar:
    start, value = _full(step.start, period), step.counts[result]
    if not step.is_counted:
        return Bar(0, step.start.strftime(WORDS[period][0]), f"{start}: not counted yet", is_known=False)
    return Bar(value, step.start.strftime(WORDS[period][0]), f"{start}: {number(value)} {result.value}")


def _full(start: datetime, period: Period) -> str:
    end = start + period.step
    return f"{start:%a %d %b, %H:%M} to {end:%H:%M}" if period is Period.WEEK else f"{start:%H:%M} to {end:%H:%M}"


def _search_line(group: FailureGroup) -> str | None:
    """Return the search line that finds the emails of *group*; None if nothing names them."""
    return None if group.failure is None else f"status:failed failure:{quoted(group.failure)}"
