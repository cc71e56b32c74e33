"""The pack's own engine on the microworld, inside this process, for measuring."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import concepts
from .judge import trained
from .narrowing import narrow
from .sampler import Sampler

PACK = "textual_inversion"
TEMPLATES = (
    "a photo of a {}",
    "a picture of a {} on gray",
    "a photo of a {} on the left",
    "an image of a {} in the sky",
)


class Edit(NamedTuple):
    """A prompt and the attributes that it asks for."""

    template: str
    asked: dict[str, str]


EDITS = (
    Edit("a photo of a {} on grass", {"background": "grass"}),
    Edit("a pastel painting of a {}", {"style": "pastel"}),
    Edit("a photo of a {} on the left", {"position": "left"}),
    Edit("a photo of a {} on a black background", {"background": "black"}),
    Edit("a sketch of a {}", {"style": "sketch"}),
    Edit("a photo of a {} on the right", {"position": "right"}),
    Edit("a photo of a {} in the sky", {"background": "sky"}),
    Edit("a dark photo of a {}", {"style": "dark"}),
    Edit("a photo of a {} at the top", {"position": "top"}),
    Edit("a photo of a {} at night", {"background": "night"}),
    Edit("a photo of a {} at the bottom", {"position": "bottom"}),
    Edit("a photo of a {} in the middle", {"position": "middle"}),
)


def _pack() -> None:
    """Makes the pack importable as `textual_inversion`; its folder may bear any name."""
    if PACK not in sys.modules:
        module = types.ModuleType(PACK)
        module.__path__ = [str(Path(__file__).resolve().parents[1])]
        sys.modules[PACK] = module


@dataclass
class Moment:
    """Where a run stands after `step` steps.

    `loss` is the mean training loss since the last moment, `step_loss` that of the step itself.
    """

    step: int
    vectors: Tensor
    loss: float
    step_loss: float
    probe: float


class Learner:
    """Learns concepts with a checkpoint through ComfyUI and scores what was learnt.

    With `fast` the shipped world's networks run in their own narrow width; the function is the
    same (`tests/host/test_microworld_expand.py`).
    """

    def __init__(self, comfyui: Path, checkpoint: Path, *, fast: bool = True) -> None:
        self.sampler = Sampler(comfyui, checkpoint)
        if fast:
            narrow(self.sampler.model, self.sampler.clip)
        _pack()
        self._trainer: Any = None

    def run(self, concept: concepts.Concept, every: int, **recipe: Any) -> Iterator[Moment]:
        """Trains on the concept's pictures and tells of every `every` steps, the start included."""
        from textual_inversion.training.events import Probed, Stepped

        losses: list[float] = []
        for event in self.events(concept, probe_every=every, **recipe):
            if isinstance(event, Stepped) and event.loss is not None:
                losses.append(event.loss)
            if isinstance(event, Probed):
                vectors = self._trainer.optimizers["clip_l"].averaged().detach().clone()
                mean = sum(losses) / len(losses) if losses else float("nan")
                latest = losses[-1] if losses else float("nan")
                yield Moment(event.step, vectors, mean, latest, event.loss)
                losses.clear()

    def events(self, concept: concepts.Concept, **recipe: Any) -> Iterator[Any]:
        """The events of a run that is not ended early."""
        from textual_inversion.host.borrow import borrow
        from textual_inversion.training.recipe import Recipe

        settings = Recipe(kind=concept.kind, early_stop=False, preview_every=0).changed(**recipe)
        cached = self.latents(concept)
        model, clip = self.sampler.model, self.sampler.clip
        with borrow(model, clip, batch_size=settings.batch_size, latent_area=64) as lent:
            self._trainer = self.trainer(lent, concept, settings, cached)
            yield from self._trainer.run()

    def latents(self, concept: concepts.Concept, *, seed: int = 0, flip: bool = False) -> list[Any]:
        """The concept's training pictures as the node would cache them."""
        from textual_inversion.host.latents import cache_latents
        from textual_inversion.training.pictures import prepare

        with torch.inference_mode():
            images = [p[None].movedim(1, -1) for p in concepts.pictures(concept, seed=seed)]
            prepared = prepare(images, [], resolution=512, flip=flip)
            return cache_latents(self.sampler.model, self.sampler.vae, prepared)

    def trainer(
        self, lent: Any, concept: concepts.Concept, settings: Any, cached: Sequence[Any]
    ) -> Any:
        """The engine's Trainer of a concept on lent models."""
        from textual_inversion.host.denoiser import ModelDenoiser
        from textual_inversion.host.text_encoder import ClipTextEncoder
        from textual_inversion.training.dataset import Dataset
        from textual_inversion.training.initial import initial_vectors
        from textual_inversion.training.trainer import Trainer

        encoder = ClipTextEncoder(lent.clip, "clip_l")
        initial = initial_vectors(
            encoder,
            concept.initializer,
            settings.num_vectors,
            settings.spread,
            torch.Generator().manual_seed(settings.seed),
        )
        return Trainer(settings, encoder, ModelDenoiser(lent), Dataset(cached), initial)

    def pictures(
        self,
        vectors: Tensor | None,
        word: str,
        *,
        count: int,
        seed: int,
        templates: tuple[str, ...] = TEMPLATES,
        negative: str = "",
    ) -> Tensor:
        """`count` samples of a word, or of `vectors` where they are given, over the templates."""
        from textual_inversion.embeddings_io.embedding import Embedding
        from textual_inversion.host.clip_with import clip_with

        clip = self.sampler.clip
        if vectors is not None:
            word = "embedding:measured"
            self.sampler.clip = clip_with(clip, [Embedding("measured", {"clip_l": vectors}, {})])
        prompts = [templates[i % len(templates)].format(word) for i in range(count)]
        try:
            return self.sampler.pictures(prompts, seed=seed, negative=negative)
        finally:
            self.sampler.clip = clip

    def reconstruction(
        self, concept: concepts.Concept, vectors: Tensor | None, *, count: int = 32, seed: int = 5
    ) -> float:
        """The judge's score of the word; of the concept's initializer where `vectors` is None."""
        samples = self.pictures(vectors, concept.initializer, count=count, seed=seed)
        return concepts.reconstruction(trained(), samples, concept)

    def edits(
        self, concept: concepts.Concept, vectors: Tensor | None, *, count: int = 48, seed: int = 6
    ) -> tuple[float, float]:
        """(E, J) over prompts that ask for backgrounds, styles and places beside the concept.

        E is the share of samples that show what was asked for, J of those that show the concept
        as well.
        """
        wanted = [edit for edit in EDITS if not set(edit.asked) & set(concept.fixed)]
        samples = self.pictures(
            vectors,
            concept.initializer,
            count=count,
            seed=seed,
            templates=tuple(edit.template for edit in wanted),
        )
        shown, joint = [], []
        for number, edit in enumerate(wanted):
            own = samples[number :: len(wanted)]
            shown.append(concepts.edited(trained(), own, edit.asked))
            joint.append(concepts.edited(trained(), own, {**concept.fixed, **edit.asked}))
        return sum(shown) / len(shown), sum(joint) / len(joint)
