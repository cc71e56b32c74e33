"""The initializer text found by the model itself: which plain word explains the pictures best?

Forward passes alone. Words are compared on one frozen bank of pictures, noises and timesteps; the
worse half goes, and those that are left are measured on a larger bank (successive halving).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from .candidates import candidates
from .dataset import Dataset
from .initial import initial_vectors
from .objective import Objective
from .probe import ProbeBank
from .protocols import Denoiser, TextEncoder
from .recipe import Recipe
from .sentences import Sentences
from .timesteps import density

AUTO = "auto"
FIRST_BANK = 4
LARGEST_BANK = 16
BROAD_KEPT = 3
FINALISTS = 3

Measure = Callable[[str, int], float]


def halve(words: Sequence[str], measure: Measure, bank: int, keep: int) -> list[tuple[str, float]]:
    """(word, loss) of the ``keep`` best words, best first; the bank doubles as words halve."""
    standing = list(dict.fromkeys(words))
    while True:
        losses = {word: measure(word, bank) for word in standing}
        standing.sort(key=losses.__getitem__)
        last = bank >= LARGEST_BANK
        standing = standing[: keep if last else max(keep, (len(standing) + 1) // 2)]
        if last or len(standing) <= keep:
            return [(word, losses[word]) for word in standing[:keep]]
        bank = min(LARGEST_BANK, 2 * bank)


class InitializerSearch:
    """Looks for the word nearest to the pictures; ``tried`` counts forward passes of a sample."""

    def __init__(
        self, recipe: Recipe, encoder: TextEncoder, denoiser: Denoiser, dataset: Dataset
    ) -> None:
        self.recipe = recipe
        self.encoder = encoder
        self.denoiser = denoiser
        self.dataset = dataset
        self.passes = 0
        self.banks: dict[int, ProbeBank] = {}

    def run(self) -> list[tuple[str, float]]:
        """(word, loss) of the best words, best first: broad ones, then those below the best."""
        tree = candidates(self.recipe.kind)
        broad = halve(self._known(list(tree)), self.measure, FIRST_BANK, BROAD_KEPT)
        narrow = [each for word, _ in broad for each in tree[word]]
        words = [word for word, _ in broad] + self._known(narrow)
        return halve(words, self.measure, FIRST_BANK, FINALISTS)

    def measure(self, word: str, size: int) -> float:
        """The loss of a bank of ``size`` probes with the vectors ``word`` starts as."""
        self.passes += size
        return self._bank(size).measure(self.encoder, self.denoiser, self._vectors(word))

    def _vectors(self, word: str) -> Mapping[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(self.recipe.seed)
        count = self.recipe.num_vectors
        found = initial_vectors(self.encoder, word, count, self.recipe.spread, generator)
        return {key: rows.to(self.denoiser.device) for key, rows in found.items()}

    def _bank(self, size: int) -> ProbeBank:
        if size not in self.banks:
            recipe = self.recipe
            sigmas = self.denoiser.sigmas.cpu()
            self.banks[size] = ProbeBank.build(
                self.dataset,
                Sentences(recipe, self.encoder),
                density(sigmas, "high_noise", recipe.timestep_from, recipe.timestep_to),
                self.denoiser,
                size=size,
                objective=Objective(recipe, self.denoiser.prediction),
                generator=torch.Generator().manual_seed(recipe.seed + 2),
            )
        return self.banks[size]

    def _known(self, words: Sequence[str]) -> list[str]:
        """The words that are a single token each, or all of them where none is."""
        single = [word for word in words if self._tokens(word) == 1]
        return single or list(words)

    def _tokens(self, word: str) -> int:
        return max(int(rows.shape[0]) for rows in self.encoder.token_vectors(word).values())


def found_sentence(words: Sequence[tuple[str, float]]) -> str:
    """'The pictures are nearest to 'jug' (then vase, bottle).'"""
    first, *others = [word for word, _ in words]
    rest = f" (then {', '.join(others)})" if others else ""
    return f"The pictures are nearest to {first!r}{rest}, so the word started there."
