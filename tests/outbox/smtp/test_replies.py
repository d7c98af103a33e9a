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


@pytest.mark.parametrize("said", COLLECTION, ids=lambda said: f"{said.stage} {said.reply[:40]}")
def test_the_rules_know_whose_matter_a_reply_is(said: Said) -> None:
    assert said.matter is Matter(said.whose)
