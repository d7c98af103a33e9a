"""Whose matter is a refusal? The rules give the right answer to every reply in replies.tsv."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import pytest

from flask_outbox.smtp.matters import Matter, matter_of


class Said(NamedTuple):
    """One line of replies.tsv."""

    half: str
    stage: str
    whose: str
    reply: str
    server: str
    source: str
    date: str

    @property
    def matter(self) -> Matter:
        code, _, text = self.reply.partition(" ")
        return matter_of(self.stage, int(code), text)


def collection() -> list[Said]:
    with (Path(__file__).parent / "replies.tsv").open(encoding="utf-8") as lines:
        rows = csv.reader((line for line in lines if not line.startswith("#")), delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Said(*row) for row in rows]


COLLECTION = collection()


@pytest.mark.parametrize(
    "said", [said for said in COLLECTION if said.half == "1"], ids=lambda said: f"{said.stage} {said.reply[:40]}"
)
def test_the_rules_know_whose_matter_a_reply_is(said: Said) -> None:
    assert said.matter is Matter(said.whose)


def test_the_rules_know_most_of_the_replies_that_they_were_not_written_for() -> None:
    second = [said for said in COLLECTION if said.half == "2"]
    right = sum(said.matter is Matter(said.whose) for said in second)
    print(f"{right} of {len(second)} replies")  # noqa: T201 - the figure that this test is run for, with pytest -s
    assert (right, len(second)) == (88, 131)
