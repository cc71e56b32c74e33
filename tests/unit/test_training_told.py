"""What is told after a run: the table of steps, nearest words, round numbers on an axis."""

from __future__ import annotations

import torch

from textual_inversion.tests.unit.toy_world import NORM, ToyEncoder
from textual_inversion.training.events import Probed, Stepped
from textual_inversion.training.history import History
from textual_inversion.training.neighbours import nearest_rows, sentence


def test_the_table_has_a_line_for_every_step():
    history = History()
    for event in (
        Probed(0, 0.5, 0.5, 0.5),
        Stepped(1, 3, 0.25, 0.01),
        Stepped(2, 3, None, 0.02),
        Probed(2, 0.4, 0.5, 0.4),
    ):
        history.take(event)
    assert history.as_csv().splitlines() == [
        "step,learning_rate,loss,probe_loss",
        "0,,,0.5",
        "1,0.01,0.25,",
        "2,0.02,,0.4",
    ]


def test_the_nearest_rows_are_those_of_a_whole_comparison(monkeypatch):
    from textual_inversion.training import neighbours

    monkeypatch.setattr(neighbours, "ROWS_AT_ONCE", 10)
    table = ToyEncoder().table
    vectors = torch.stack([3.0 * table[17], -table[5]])
    found = nearest_rows(table, vectors, 4)
    assert found[0][0][0] == 17 and abs(found[0][0][1] - 1) < 1e-5
    whole = (table / NORM) @ (vectors[1] / vectors[1].norm())
    assert [row for row, _ in found[1]] == whole.topk(4).indices.tolist()
    assert nearest_rows(table.half(), vectors, 1)[0][0][0] == 17


def test_a_vector_is_told_in_words():
    told = sentence([("dog", 0.712), ("puppy", 0.6)], 0.384, 0.391)
    assert told == "norm 0.38 (words 0.39); near dog 0.71, puppy 0.60"
