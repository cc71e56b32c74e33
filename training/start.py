"""What a run begins with: pictures that help, and vectors near what they show."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from .dataset import CachedPicture, Dataset
from .flips import paired, twins_are_harder
from .initial import initial_vectors, vectors_like
from .initializer_search import AUTO, InitializerSearch, found_sentence
from .objective import Objective
from .prompts import PLACEHOLDER
from .protocols import Denoiser, TextEncoder
from .recipe import Recipe
from .sentences import Sentences
from .timesteps import density


@dataclasses.dataclass(frozen=True)
class Initializer:
    """Where the vectors start: an embedding's ``vectors`` if there are any, else a text."""

    text: str
    vectors: Mapping[str, torch.Tensor] | None = None

    @property
    def searched(self) -> bool:
        """True where the model is asked for the nearest word first."""
        return self.vectors is None and self.text.strip().lower() == AUTO


@dataclasses.dataclass(frozen=True)
class Start:
    """Datasets and vectors of a run; ``text`` is the initializer text that was used."""

    dataset: Dataset
    good: Dataset | None
    initial: Mapping[str, torch.Tensor]
    text: str
    notices: tuple[str, ...]


def begin(
    recipe: Recipe,
    encoder: TextEncoder,
    denoiser: Denoiser,
    pictures: Sequence[CachedPicture],
    initializer: Initializer,
) -> Start:
    """Ask the model what ``auto`` leaves open, then make the vectors.

    Forward passes alone; the same pictures and seed give the same start. Raises
    InitializerError.
    """
    notices: list[str] = []
    shown = [each for each in pictures if not each.good]
    good = [each for each in pictures if each.good]
    text = initializer.text
    if initializer.searched:
        upright = [each for each in shown if not each.flipped]
        words = InitializerSearch(recipe, encoder, denoiser, Dataset(upright)).run()
        text = words[0][0]
        notices.append(found_sentence(words))
    generator = torch.Generator().manual_seed(recipe.seed)
    if initializer.vectors is not None:
        initial = vectors_like(
            initializer.vectors,
            encoder,
            recipe.num_vectors,
            recipe.spread,
            generator,
            keep_norms=recipe.optimizer == "adamw",
        )
    else:
        initial = initial_vectors(encoder, text, recipe.num_vectors, recipe.spread, generator)
    if recipe.flip == "auto" and paired(shown):
        shown, notice = _decided(recipe, encoder, denoiser, shown, initial)
        notices.append(notice)
    return Start(Dataset(shown), Dataset(good) if good else None, initial, text, tuple(notices))


def _decided(
    recipe: Recipe,
    encoder: TextEncoder,
    denoiser: Denoiser,
    pictures: list[CachedPicture],
    initial: Mapping[str, torch.Tensor],
) -> tuple[list[CachedPicture], str]:
    """The pictures with or without their mirrored twins, and a sentence that says which."""
    harder = twins_are_harder(
        pictures,
        Sentences(recipe, encoder).tokens(PLACEHOLDER),
        {key: rows.to(denoiser.device) for key, rows in initial.items()},
        density(denoiser.sigmas.cpu(), "uniform", recipe.timestep_from, recipe.timestep_to),
        encoder,
        denoiser,
        Objective(recipe, denoiser.prediction),
        torch.Generator().manual_seed(recipe.seed + 3),
    )
    if harder:
        upright = [each for each in pictures if not each.flipped]
        return upright, "Mirrored pictures are left out: the model finds them harder."
    return pictures, "Mirrored pictures are learnt too: the model finds them no harder."
