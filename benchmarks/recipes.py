"""Recipes by name: ours, and published ones carried out by the same engine."""

from __future__ import annotations

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    # Stable Diffusion's own configuration and A1111's default rate: one picture a step.
    "a1111": {
        "optimizer": "adamw",
        "learning_rate_schedule": "5e-3",
        "batch_size": 1,
        "timestep_density": "uniform",
        "timestep_from": 0.0,
        "timestep_to": 1.0,
        "prior": 0.0,
        "averaging": 0.0,
        "weight_decay": 0.01,
    },
    # The textual_inversion example of diffusers: 5e-4 scaled by four accumulated pictures.
    "diffusers": {
        "optimizer": "adamw",
        "learning_rate_schedule": "2e-3",
        "batch_size": 4,
        "timestep_density": "uniform",
        "timestep_from": 0.0,
        "timestep_to": 1.0,
        "prior": 0.0,
        "averaging": 0.0,
        "weight_decay": 0.01,
    },
}
"""What each recipe changes in the default one."""
