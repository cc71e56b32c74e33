"""Rule 2: a vector keeps the norm of words, and a step's length is an angle."""

from __future__ import annotations

import pytest
import torch

from textual_inversion.training.adamw import AdamW
from textual_inversion.training.sphere import (
    SphereOptimizer,
    angle_between,
    retract,
    tangent,
    unit,
)


def rows(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 768, generator=torch.Generator().manual_seed(seed))


def sphere(initial: torch.Tensor, **changes: float) -> SphereOptimizer:
    settings = {"momentum": 0.9, "gradient_averaging": 0.99, "prior": 0.0, "averaging": 0.2}
    return SphereOptimizer(initial, 0.385, **(settings | changes))


def test_the_tangent_is_orthogonal():
    u, g = unit(rows(3)), rows(3, 1)
    assert (tangent(g, u) * u).sum(dim=-1).abs().max() < 1e-4


@pytest.mark.parametrize("angle", [1e-4, 0.01, 0.5, 2.0])
def test_retracting_walks_exactly_its_length(angle):
    u = unit(rows(4).double())
    step = angle * unit(tangent(rows(4, 1).double(), u))
    walked = retract(u, step)
    assert torch.allclose(walked.norm(dim=-1), torch.ones(4).double())
    assert torch.allclose(angle_between(u, walked), torch.full((4,), angle).double(), rtol=1e-6)


def test_the_norm_never_changes_and_a_step_turns_at_most_the_rate():
    optimizer = sphere(rows(2))
    for step in range(200):
        before = optimizer.vectors()
        optimizer.step(1e3 * rows(2, step + 1), 0.02)
        after = optimizer.vectors()
        assert torch.allclose(after.norm(dim=-1), torch.full((2,), 0.385), atol=1e-5)
        assert angle_between(before, after).max() <= 0.02 * (1 + 1e-3)


def test_a_steady_gradient_turns_by_the_whole_rate():
    target = unit(rows(1, 9))
    optimizer = sphere(rows(1))
    for _ in range(20):
        before = optimizer.vectors()
        optimizer.step(-target, 0.01)
    assert angle_between(before, optimizer.vectors()).item() == pytest.approx(0.01, rel=0.1)


def test_steps_do_not_depend_on_the_scale_of_the_loss():
    small, large = sphere(rows(1)), sphere(rows(1))
    for step in range(30):
        small.step(1e-4 * rows(1, step + 1), 0.02)
        large.step(1e4 * rows(1, step + 1), 0.02)
    assert torch.allclose(small.vectors(), large.vectors(), atol=1e-5)


def test_descending_reaches_the_minimum():
    target = unit(rows(1, 9))
    optimizer = sphere(rows(1), momentum=0.5)
    for _ in range(400):
        optimizer.step(-target, 0.02)
    assert angle_between(optimizer.vectors(), target).item() < 0.05


def test_the_prior_pulls_back_to_the_initializer():
    start = rows(1)
    optimizer = sphere(start, prior=1.0)
    optimizer.direction = unit(rows(1, 3))
    for _ in range(400):
        optimizer.step(torch.zeros(1, 768), 0.02)
    assert angle_between(optimizer.vectors(), start).item() < 0.05


def test_the_average_is_steadier_than_the_latest():
    target = unit(rows(1, 9))
    optimizer = sphere(target, averaging=0.4, momentum=0.0)
    for step in range(300):
        optimizer.step(rows(1, step + 10) - 20 * target, 0.05)
    latest = angle_between(optimizer.vectors(), target).item()
    average = angle_between(optimizer.averaged(), target).item()
    assert average < 0.7 * latest
    assert torch.allclose(optimizer.averaged().norm(dim=-1), torch.tensor([0.385]), atol=1e-5)


def test_the_average_of_a_young_run_keeps_up_with_it():
    optimizer = sphere(rows(1), averaging=0.2)
    start, goal = optimizer.vectors(), rows(1, 5)
    for _ in range(30):
        optimizer.step(-goal, 0.03)
    gone = angle_between(optimizer.vectors(), start).item()
    assert angle_between(optimizer.averaged(), optimizer.vectors()).item() < 0.2 * gone


def test_a_gradient_of_nothing_moves_nothing():
    optimizer = sphere(rows(2))
    before = optimizer.vectors()
    optimizer.step(torch.zeros(2, 768), 0.5)
    assert torch.allclose(optimizer.vectors(), before, atol=1e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_adamw_equals_torch(weight_decay):
    parameter = torch.nn.Parameter(rows(2))
    reference = torch.optim.AdamW([parameter], lr=5e-3, weight_decay=weight_decay)
    ours = AdamW(rows(2), weight_decay=weight_decay, averaging=0.0)
    for step in range(50):
        gradient = rows(2, step + 1)
        parameter.grad = gradient.clone()
        reference.step()
        ours.step(gradient, 5e-3)
    assert torch.allclose(ours.vectors(), parameter.detach(), atol=1e-5)


@pytest.mark.parametrize("make", [sphere, lambda v: AdamW(v, weight_decay=0, averaging=0.2)])
def test_an_optimizer_continues_bit_for_bit(make):
    first, second = make(rows(2)), make(rows(2, 99))
    for step in range(10):
        first.step(rows(2, step + 1), 0.02)
    second.load_state_dict(first.state_dict())
    for step in range(10):
        first.step(rows(2, step + 50), 0.02)
        second.step(rows(2, step + 50), 0.02)
    assert torch.equal(first.vectors(), second.vectors())
    assert torch.equal(first.averaged(), second.averaged())
