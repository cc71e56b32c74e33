"""The microworld's trainers: what they compute on, and going on after a stop."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from textual_inversion.microworld import compute, trainer_state
from textual_inversion.microworld.muon import Muon


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("flags : sse2 avx512_bf16 amx_bf16 amx_tile", True), ("flags : sse2 avx512_bf16", False)],
)
def test_a_matrix_unit_is_told_by_the_processors_flags(
    tmp_path: Path, flags: str, expected: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(flags)
    assert compute.has_amx(tmp_path / "cpuinfo") is expected
    assert not compute.has_amx(tmp_path / "nothing")


def test_bfloat16_is_for_matrix_units(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, numbers = nn.Linear(4, 4), torch.ones(1, 4)
    for there, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(compute, "has_amx", lambda there=there: there)
        with compute.Compute.chosen(device="cpu").precision():
            assert layer(numbers).dtype == expected


def test_nothing_is_compiled_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with caplog.at_level(logging.WARNING):
        chosen = compute.Compute.chosen(device="cpu", compiled=True)
    assert not chosen.compiled
    assert "no C++ compiler" in caplog.text
    assert chosen.compile(len) is len


class Run:
    """A small network with both optimisers and an average, as the trainers have them."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 2))
        first, last = self.model
        self.optimisers = [Muon([first.weight], lr=0.1), torch.optim.AdamW(last.parameters(), 0.1)]
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.model(torch.ones(3, 6)).square().mean().backward()
            for each in self.optimisers:
                each.step()
                each.zero_grad()
            for name, parameter in self.model.named_parameters():
                self.average[name].lerp_(parameter.detach(), 0.5)


def test_a_stopped_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole, stopped, again = Run(), Run(), Run()
    whole.steps(6)
    stopped.steps(3)
    file = tmp_path / "state-0.pt"
    parts = (stopped.model, stopped.optimisers, stopped.average)
    trainer_state.save(file, *parts, step=3, spent=7.5)
    assert [path.name for path in tmp_path.iterdir()] == ["state-0.pt"]
    assert trainer_state.restore(file, again.model, again.optimisers, again.average) == (3, 7.5)
    again.steps(3)
    for name, expected in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], expected)
        assert torch.equal(again.average[name], whole.average[name])


def test_a_run_without_a_state_begins_at_nothing(tmp_path: Path) -> None:
    run = Run()
    assert trainer_state.restore(tmp_path / "none.pt", run.model, run.optimisers) == (0, 0.0)
