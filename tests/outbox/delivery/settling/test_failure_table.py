"""The table in docs/delivery.md is true: each of its examples is played to the real transport and the real decision."""

from __future__ import annotations

import re
import ssl
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from flask_outbox.delivery.settling import decision
from flask_outbox.delivery.settling.decision import Decision, Fate, Situation, decide, reason_to_stop
from flask_outbox.errors import Deferred, Held, Refused, TransmissionError, Unavailable
from flask_outbox.smtp.envelope import Envelope, Reply
from flask_outbox.smtp.server import Server
from flask_outbox.smtp.staging import Staging
from flask_outbox.smtp.transport import Transport
from flask_outbox.testing import SmtpServer, drop, garbage, reply, stall
from flask_outbox.testing.smtp_server import STAGES
from tests.servers import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    import trustme

TIMEOUT = 0.15
EMAIL = Envelope("a@example.com", "b@example.com", b"Subject: hi\r\n\r\ntext\r\n")

# What the third column begins with.
DECISIONS = {
    "sent": decision.SENT,
    "failed": decision.FAILED,
    "retry": decision.RETRY,
    "slow down": decision.SLOW_DOWN,
    "wait": decision.SUSPECT,
    "second opinion": decision.SECOND_OPINION,
    "stop and postpone": decision.POSTPONE_AND_STOP,
    "stop": decision.RELEASE_AND_STOP,
    "hold": decision.HOLD,
    "hold the sending": decision.HOLD_SENDING,
    "give back": decision.RELEASE,
}
# What is emphasized in the first column.
SITUATIONS = {
    "": Situation(),
    "kept connection": Situation(),
    "then another email is accepted or refused in other words": Situation(is_contradicted=True),
    "the batch ends with nothing else due": Situation(is_batch_over=True, is_alone=True),
    "the batch ends with other mail due": Situation(is_batch_over=True),
    "since its first refusal another email was accepted": Situation(
        is_batch_over=True, is_refused_before=True, accepts_others=True
    ),
    "since its first refusal no email was accepted": Situation(is_batch_over=True, is_refused_before=True),
    "another email is accepted, and others of its sending wait": Situation(is_contradicted=True, has_siblings=True),
    "five recipients of one sending": Situation(is_sending_refused=True, alike=decision.MOST_ALIKE),
    "five times because of one email": Situation(is_singled_out=True),
    "five recipients in a row": Situation(alike=decision.MOST_ALIKE),
    "further connection": Situation(is_extra=True),
    "the process ends": Situation(is_cut=True),
}
# What an example names in place of a reply, where the server is to misbehave.
BEHAVIOURS = {"connection lost": drop, "silence": stall, "nonsense": garbage, "cut": stall}


class Example(NamedTuple):
    """One code span of the first column, with what its row says."""

    stage: str
    event: str
    situation: str
    owner: str
    outcome: str


def examples() -> list[Example]:
    text = (ROOT / "docs/delivery.md").read_text()
    section = text.partition("\n## What the server says\n")[2].partition("\n## ")[0]
    header, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    assert header == "| what happened | whose matter | what we do |"
    found = []
    for row in rows:
        what, owner, then = (cell.strip() for cell in row.strip("|").split("|"))
        situation = re.search(r"\*([^*]+)\*", what)
        outcome = re.match(r"\*\*([^*]+)\*\*", then)
        spans = [span.partition(" ") for span in re.findall(r"`([^`]+)`", what)]
        assert outcome, f"no decision in {row}"
        assert spans, f"no example in {row}"
        name = situation.group(1).lower() if situation else ""
        found += [Example(stage, event, name, owner, outcome.group(1)) for stage, _, event in spans]
    return found


EXAMPLES = examples()


@pytest.fixture
def play(smtp: SmtpServer, authority: trustme.CA) -> Callable[[Example], Reply | TransmissionError]:
    """A function that plays one example to a transport, and returns what the transport made of it."""

    def settings(example: Example) -> dict[str, Any]:
        if example.stage == "AUTH":
            smtp.password = ("me", "secret")
            return {"username": "me", "password": "secret"}
        if example.stage == "STARTTLS":
            if example.event != "not offered":
                smtp.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                authority.issue_cert("localhost").configure_cert(smtp.tls)
            return {"use_tls": True}
        return {"staging": Staging(("example.org",))} if example.event == "not allowed" else {}

    def one(example: Example) -> Reply | TransmissionError:
        transport = Transport(Server("127.0.0.1", smtp.port, timeout=TIMEOUT, **settings(example)))
        email = EMAIL
        if example.situation == "kept connection":
            transport.transmit(EMAIL)
        if example.event in BEHAVIOURS:
            smtp.on(example.stage, BEHAVIOURS[example.event])
        elif example.event == "address beyond ASCII":
            smtp.extensions.remove("SMTPUTF8")
            email = EMAIL._replace(recipient="zoë@example.com")
        elif example.event == "larger than SIZE":
            smtp.extensions.append("SIZE 20")
        elif example.event[:3].isdigit():
            smtp.on(example.stage, *[reply(example.event)] * (2 if example.stage in {"AUTH", "EHLO"} else 1))
        timer = threading.Timer(TIMEOUT / 3, transport.cut if example.event == "cut" else lambda: None)
        timer.start()
        try:
            return transport.transmit(email)
        except TransmissionError as error:
            return error
        finally:
            timer.join()
            transport.close()

    return one


def owner(said: Reply | TransmissionError, made: Decision) -> str:
    """Return whose matter it is, by the error and the decision."""
    if isinstance(said, Reply) or made == decision.RELEASE:
        return "nobody's"
    if made == decision.SLOW_DOWN:
        return "the moment's"
    if isinstance(said, Unavailable) or made.stops:
        return "ours" if reason_to_stop(said).ours else "the server's"
    if isinstance(said, Refused):
        return "the recipient's or the message's" if made.fate in {Fate.FAILED, Fate.HOLD_SENDING} else "unclear"
    return "the moment's" if isinstance(said, Deferred) else "ours"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.stage} {example.event[:30]}, {example.situation}")
def test_each_example_in_the_docs_is_decided_as_they_say(
    smtp: SmtpServer, play: Callable[[Example], Reply | TransmissionError], example: Example
) -> None:
    said = play(example)
    made = decide(said, SITUATIONS[example.situation])
    assert made == DECISIONS[example.outcome]
    assert owner(said, made) == example.owner
    if example.situation == "kept connection":
        assert smtp.connections == 2
    if isinstance(said, Deferred):
        assert said.uncertain == (example.stage == "DOT" and not example.event[:3].isdigit())
    if isinstance(said, Held):
        assert smtp.connections == 0


def test_the_table_names_every_decision_and_every_situation() -> None:
    assert {example.outcome for example in EXAMPLES} == set(DECISIONS)
    assert {example.situation for example in EXAMPLES} == set(SITUATIONS)
    assert {example.stage for example in EXAMPLES} <= set(STAGES)
    assert set(DECISIONS.values()) == {value for value in vars(decision).values() if isinstance(value, Decision)}
    assert {made.fate for made in DECISIONS.values()} == set(Fate)


@pytest.mark.parametrize(
    ("said", "situation", "made"),
    [
        (Deferred("lost", uncertain=True), Situation(is_cut=True), decision.RETRY),
        (Deferred("4.3.2 too many", 432), Situation(), decision.RETRY),
        (Refused("5.7.1 no", 554), Situation(alike=decision.MOST_ALIKE - 1), decision.SUSPECT),
        (Refused("5.1.1 no such user", 550), Situation(alike=decision.MOST_ALIKE), decision.FAILED),
        (Refused("the message has been erased"), Situation(alike=decision.MOST_ALIKE), decision.FAILED),
        (Refused("5.7.1 no", 554), Situation(is_batch_over=True, alike=decision.MOST_ALIKE), decision.SECOND_OPINION),
        (
            Refused("5.7.1 no", 554),
            Situation(is_batch_over=True, is_alone=True, is_refused_before=True),
            decision.POSTPONE_AND_STOP,
        ),
        (Refused("5.7.1 no", 554), Situation(is_contradicted=True, has_siblings=True), decision.FAILED),
        (Refused("5.6.0 no", 554), Situation(is_contradicted=True), decision.FAILED),
        (
            Refused("5.6.0 no", 554),
            Situation(is_contradicted=True, has_siblings=True, is_refused_before=True),
            decision.FAILED,
        ),
        (Refused("5.1.1 no such user", 550), Situation(is_sending_refused=True), decision.FAILED),
        (Deferred("4.3.2 Concurrent connections limit exceeded", 432), Situation(), decision.SLOW_DOWN),
        (Deferred("Throttling failure: Maximum sending rate exceeded", 454), Situation(is_extra=True), decision.SLOW_DOWN),
    ],
)
def test_the_finer_points_of_a_decision(said: TransmissionError, situation: Situation, made: Decision) -> None:
    assert decide(said, situation) == made


@pytest.mark.parametrize("situation", [Situation(is_cut=True), Situation(is_extra=True)])
def test_an_email_is_not_to_blame_for_our_own_cut_or_for_a_further_connection(situation: Situation) -> None:
    said = Unavailable("4.7.0 go away", 421)
    said.over_an_email = True
    assert decide(said, situation) == decision.RELEASE_AND_STOP
    assert decide(said, Situation()) == decision.POSTPONE_AND_STOP
