"""Why a run can't go on, in one sentence with the remedy."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .gradients import StepGradients

NO_GRADIENT = (
    "No gradient reaches the vectors of {keys}, so nothing could be learnt; start ComfyUI without "
    "attention that can't be trained through (such as SageAttention) and remove model patches."
)
NO_LOSS = (
    "The probe bank's loss is not a number before the first step; check the pictures and load the "
    "model in a higher precision."
)
NO_NUMBERS = (
    "The loss has not been a number for several steps at step {step}, at a halved learning rate "
    "too; lower learning_rate or load the model in a higher precision."
)
DIVERGED = (
    "The run diverged: after {step} steps the probe bank's loss is {loss:.4g}, worse than the "
    "{first:.4g} of the initializer text, and it was never better; lower learning_rate."
)
NO_MEMORY = (
    "There is not enough memory to learn from one picture of this size; lower resolution, close "
    "other programs, or start ComfyUI with --lowvram."
)


class TrainingError(RuntimeError):
    """The run can't go on; the message says why and what to change."""


def check_gradients(keys: Sequence[str], found: StepGradients) -> None:
    """Raise TrainingError if some encoder's vectors have no part in the loss."""
    if not bool(torch.isfinite(found.loss)):
        return
    unreached = [
        key
        for key, each in zip(keys, found.gradients, strict=True)
        if each is None or not bool((each != 0).any())
    ]
    if unreached:
        raise TrainingError(NO_GRADIENT.format(keys=" and ".join(unreached)))
