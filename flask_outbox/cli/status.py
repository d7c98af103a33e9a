"""``flask mail status``: the desk's overview in a terminal."""

from __future__ import annotations

import json
import shutil
import textwrap
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..state import current_state
from ..store.status.activity import Period, Result
from .group import mail_cli
from .printing import count, local_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store.status.pace import DeliveryTime
    from ..store.status.status import Service, StatusReport

# The largest groups of failures fit on the screen.
MOST_GROUPS = 5
# The width of the first column, and of the narrowest terminal that is written for.
MARGIN, NARROWEST = 13, 40


@mail_cli.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print the status as one JSON object.")
@click.option(
    "--period",
    type=click.Choice([period.value for period in Period]),
    default=Period.DAY.value,
    show_default=True,
    help="Period of the delivery time.",
)
def status_command(*, as_json: bool, period: str) -> None:
    """Show the whole outbox on one screen.

    It shows whether email goes out and what waits, what was sent, put off and refused, how fast, the workers, the server, and why
    emails failed. It exits with code 1 if mail is not going out and somebody should look, as flask mail health does.
    """
    report = current_state().status_reader.read(Period(period))
    width = max(shutil.get_terminal_size().columns, NARROWEST)
    if as_json:
        click.echo(json.dumps(_as_dict(report), default=datetime.isoformat))
    else:
        for line in _lines(report, Period(period)):
            click.echo("\n".join(textwrap.wrap(line, width, subsequent_indent=" " * MARGIN)))
    click.get_current_context().exit(not report.health.is_healthy)


def _as_dict(report: StatusReport) -> dict[str, Any]:
    """Return the report in plain values; activity as one list of steps for each period."""
    found = {"is_healthy": report.health.is_healthy, **asdict(replace(report, activity=None))}
    if report.activity:
        activity = report.activity
        found["activity"] = {one.value: [{"start": step.start, **step.counts} for step in activity.steps(one)] for one in Period}
    return found


def _lines(report: StatusReport, period: Period) -> Iterator[str]:
    from ..desk.pages.overview import headline  # noqa: PLC0415 - loads the desk for this command alone

    yield headline(report)
    for problem in report.health.problems:
        yield _line("problem", f"{problem.what}{f' (since {local_time(problem.since)})' if problem.since else ''}")
        yield _line("what to do", problem.remedy)
    for remark in report.health.remarks:
        yield _line("remark", remark)
    if report.activity is None:
        return
    yield ""
    yield _line("emails", ", ".join(f"{number} {status}" for status, number in (report.counts or {}).items()) or "none")
    yield from _activity(report)
    yield _line("delivery", _delivery_time(report.delivery_time, period))
    yield ""
    yield from _services(report)
    yield from _workers(report)
    yield from _groups(report)


def _line(name: str, text: str) -> str:
    return f"{name:<{MARGIN}}{_printable(text)}"


def _printable(text: str) -> str:
    """Return *text* without characters that could move the cursor: strangers write the server's replies."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _activity(report: StatusReport) -> Iterator[str]:
    if report.activity is None:
        return
    yield "".join([" " * MARGIN, *(f"{result.value:>12}" for result in Result)])
    for period in Period:
        total = report.activity.total(period)
        yield "".join([f"{f'last {period.value}':<{MARGIN}}", *(f"{total[result]:>12,}" for result in Result)])


def _delivery_time(found: DeliveryTime | None, period: Period) -> str:
    if found is None:
        return f"no email was accepted in the last {period.value}"
    times = f"half within {found.median:.2f} s, 95 of 100 within {found.p95:.2f} s"
    return f"{times} (the newest {found.count:,} of the last {period.value}), last accepted {local_time(found.last)}"


def _services(report: StatusReport) -> Iterator[str]:
    if report.server is not None:
        problem = f"cannot be used: {report.server.problem}" if report.server.problem else "no problem known"
        yield _line("server", f"{report.server.address}, {problem}")
    yield _line("database", _service(report.database))
    yield _line("redis", _service(report.redis) if report.redis else "not used")


def _service(found: Service) -> str:
    return f"{found.name}, {found.problem or f'answers in {found.seconds * 1000:.1f} ms'}"


def _workers(report: StatusReport) -> Iterator[str]:
    for worker in report.workers:
        state = "LOST" if worker.is_lost else f"running, {worker.doing}"
        yield _line(
            "worker", f"{worker.name}, {state}; last seen {local_time(worker.seen_at)}, started {local_time(worker.started_at)}"
        )
    if not report.workers:
        yield _line("worker", "none is running")


def _groups(report: StatusReport) -> Iterator[str]:
    if report.groups:
        yield ""
    for group in report.groups[:MOST_GROUPS]:
        yield _line("failed", f"{count(group.count, 'email')}: {group.failure or 'not recorded, by an older version'}")
    if len(report.groups) > MOST_GROUPS:
        yield _line("", f"and for {count(len(report.groups) - MOST_GROUPS, 'other reason')}")
