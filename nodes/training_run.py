"""One training run from a node: check everything, learn, save, show."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..embeddings_io import metadata
from ..embeddings_io.embedding import Embedding
from ..embeddings_io.names import check_name
from ..embeddings_io.saving import check_target, save
from ..embeddings_io.thumbnails import thumbnail
from ..host import previews
from ..host.borrow import Lent, borrow
from ..host.denoiser import ModelDenoiser
from ..host.families import Family, identify
from ..host.latents import cache_latents
from ..host.progress import Interrupted, NodeProgress
from ..host.text_encoder import ClipTextEncoder
from ..training.captions import with_word
from ..training.dataset import CachedPicture
from ..training.events import Finished, Previewed
from ..training.history import History
from ..training.initial import check_initializer, vectors_like
from ..training.linter import lint
from ..training.pictures import Picture, prepare, prepare_good
from ..training.recipe import Recipe
from ..training.sentences import Sentences
from ..training.start import Initializer, begin
from ..training.templates import preview_prompts
from ..training.trainer import Trainer
from .training_report import TrainingReport, report

log = logging.getLogger(__name__)

FINAL_PREVIEWS = 2
QUICK_PREVIEW_STEPS = 10


@dataclasses.dataclass(frozen=True)
class TrainingRequest:
    """What a person asked for."""

    model: Any
    clip: Any
    vae: Any
    images: Sequence[torch.Tensor]
    captions: Sequence[str]
    name: str
    initializer_text: str
    recipe: Recipe
    overwrite: bool
    folder: Path
    base_model: str = ""
    node_id: str | None = None
    masks: Sequence[torch.Tensor] = ()
    good_images: Sequence[torch.Tensor] = ()
    initializer: Embedding | None = None
    notices: tuple[str, ...] = ()
    records: Path | None = None


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came of it: the embedding, its file, pictures of before and after, and figures."""

    embedding: Embedding
    path: Path
    previews: torch.Tensor
    curve: list[float]
    figures: dict[str, Any]
    told: TrainingReport
    notices: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The figures as lines for a person, after what there is to notice."""
        lines = [f"{name}: {value}" for name, value in self.figures.items()]
        return "\n".join([*self.notices, *lines, *self.told.lines])

    def report(self) -> dict[str, list[Any]]:
        """The figures for the node and for headless users, in the form ``ui`` needs."""
        return {"text": [self.text]} | {name: [value] for name, value in self.figures.items()}


class TrainingRun:
    """Carries out a :class:`TrainingRequest`.

    Everything a person could have got wrong is found before any training; nothing is left on
    the disk then. After Cancel the best vectors so far are saved and Interrupted goes on.
    """

    def __init__(self, request: TrainingRequest) -> None:
        self.request = request
        self.recipe = request.recipe
        self.last_preview: torch.Tensor | None = None
        self.size = (0, 0)
        self.initializer_text = request.initializer_text
        self.notices = list(request.notices)
        self.history = History()

    def execute(self) -> TrainingResult:
        """Check, learn, save and show."""
        family, pictures = self.check()
        request = self.request
        cached = cache_latents(request.model, request.vae, pictures)
        self.size = (int(pictures[0].pixels.shape[1]), int(pictures[0].pixels.shape[0]))
        progress = NodeProgress(self.recipe.steps, request.node_id)
        trainer, finished = self._learn(family, cached, progress)
        embedding = self._embedding(finished.vectors, finished.step, trainer.dataset.num_sources)
        path = save(embedding, request.folder, overwrite=request.overwrite)
        shown = self._final_previews(embedding, cached[0])
        if shown is not None:
            learnt = thumbnail(shown[FINAL_PREVIEWS:])
            save(embedding, request.folder, overwrite=True, thumbnail=learnt)
        else:
            shown = torch.stack([picture.pixels for picture in pictures[:1]])
        told = report(embedding, request.clip, trainer, finished, self.history)
        figures = self._figures(path, finished, progress)
        if request.records is not None:
            figures["table"] = str(told.write(request.records, request.name) or "")
        return TrainingResult(
            embedding,
            path,
            shown,
            [loss for _, loss in trainer.curve],
            figures,
            told,
            (*self.notices, *trainer.difficulties.remarks()),
        )

    def check(self) -> tuple[Family, list[Picture]]:
        """Find whatever is wrong with the request; raises one clear error."""
        request, recipe = self.request, self.recipe
        check_name(request.name, subfolders=False)
        check_target(request.name, request.folder, overwrite=request.overwrite)
        family = identify(request.model, request.clip)
        pictures = self._pictures()
        encoder = ClipTextEncoder(request.clip, family.encoder_keys[0])
        self._check_start(encoder)
        Sentences(recipe, encoder).check(each for each in pictures if not each.good)
        self._lint(encoder, [each.caption for each in pictures if not each.flipped])
        return family, pictures

    def _pictures(self) -> list[Picture]:
        """Every picture prepared, mirrored where that is wanted, with the word in its caption."""
        request, recipe = self.request, self.recipe
        pictures = prepare(
            request.images,
            request.captions,
            resolution=recipe.resolution,
            flip=recipe.flip != "off",
            masks=request.masks,
            background=recipe.mask_background,
        )
        pictures, notice = with_word(pictures, request.name)
        self._notice(notice)
        if request.good_images:
            sizes = [(each.pixels.shape[0], each.pixels.shape[1]) for each in pictures]
            pictures += prepare_good(request.good_images, sizes)
        return pictures

    def _initializer(self) -> Initializer:
        """Where the vectors start from."""
        embedding = self.request.initializer
        vectors = None if embedding is None else embedding.vectors
        return Initializer(self.request.initializer_text, vectors)

    def _check_start(self, encoder: ClipTextEncoder) -> None:
        """Raise InitializerError now rather than after the models are loaded."""
        initializer = self._initializer()
        if initializer.vectors is not None:
            vectors_like(initializer.vectors, encoder, 1, 0.0, torch.Generator())
        elif not initializer.searched:
            check_initializer(encoder.token_vectors(initializer.text), initializer.text)

    def _lint(self, encoder: ClipTextEncoder, captions: Sequence[str | None]) -> None:
        key = encoder.keys[0]
        width = int(encoder.token_vectors("a")[key].shape[1])
        norm = encoder.vocabulary_norm(key)
        found = lint(self.recipe, norm=norm, width=width, pictures=len(captions), captions=captions)
        for sentence in found:
            self._notice(sentence)

    def _notice(self, sentence: str | None) -> None:
        """Something a person should read, in the log and in the result."""
        if sentence:
            self.notices.append(sentence)
            log.info(sentence)

    def _learn(
        self, family: Family, cached: Sequence[CachedPicture], progress: NodeProgress
    ) -> tuple[Trainer, Finished]:
        request, recipe = self.request, self.recipe
        area = max(picture.mean[0].numel() for picture in cached)
        with borrow(
            request.model, request.clip, batch_size=recipe.batch_size, latent_area=area
        ) as lent:
            encoder = ClipTextEncoder(lent.clip, family.encoder_keys[0])
            denoiser = ModelDenoiser(lent)
            start = begin(recipe, encoder, denoiser, cached, self._initializer())
            self.initializer_text = start.text
            for sentence in start.notices:
                self._notice(sentence)
            trainer = Trainer(
                recipe, encoder, denoiser, start.dataset, start.initial, good=start.good
            )
            try:
                return trainer, self._follow(trainer, lent, cached[0], progress)
            except Interrupted:
                self._keep(trainer)
                raise

    def _follow(
        self, trainer: Trainer, lent: Lent, example: CachedPicture, progress: NodeProgress
    ) -> Finished:
        for event in trainer.run():
            self.history.take(event)
            progress.show(event)
            if isinstance(event, Previewed):
                with lent.pause():
                    self._preview(event, example, progress)
                progress.skip_time()
            if isinstance(event, Finished):
                return event
        raise AssertionError("a run always ends with Finished")

    def _keep(self, trainer: Trainer) -> None:
        """After Cancel: the best so far goes to the disk."""
        sources = trainer.dataset.num_sources
        embedding = self._embedding(trainer.best_so_far(), trainer.steps_done, sources)
        picture = None if self.last_preview is None else thumbnail(self.last_preview)
        path = save(
            embedding, self.request.folder, overwrite=self.request.overwrite, thumbnail=picture
        )
        log.info("Training cancelled at step %d; the best so far is %s", trainer.steps_done, path)

    def _preview(self, event: Previewed, example: CachedPicture, progress: NodeProgress) -> None:
        embedding = Embedding(self.request.name, event.vectors)
        picture = self._sampled(embedding, example, 1, QUICK_PREVIEW_STEPS)
        if picture is not None:
            self.last_preview = picture
            progress.picture(previews.as_pil(picture[0]))

    def _final_previews(self, embedding: Embedding, example: CachedPicture) -> torch.Tensor | None:
        """Pictures of the initializer text, then of the learnt word, at the same seeds."""
        before = self._sampled(None, example, FINAL_PREVIEWS, 20)
        after = self._sampled(embedding, example, FINAL_PREVIEWS, 20)
        return None if before is None or after is None else torch.cat([before, after])

    def _sampled(
        self, embedding: Embedding | None, example: CachedPicture, count: int, steps: int
    ) -> torch.Tensor | None:
        """Preview pictures, or None where sampling fails: a preview never ends a run."""
        request = self.request
        word = self.initializer_text if embedding is None else embedding.prompt_text
        positive, negative = preview_prompts(self.recipe.kind, word)
        channels, height, width = example.mean.shape
        sampling = previews.Sampling((channels, height, width), self.recipe.seed, steps)
        known = () if embedding is None else (embedding,)
        try:
            return previews.sample(
                request.model,
                request.clip,
                request.vae,
                positive,
                sampling,
                count=count,
                negative=negative,
                embeddings=known,
            )
        except Interrupted:
            raise
        except Exception as error:
            log.warning("The preview failed: %s", error)
            return None

    def _embedding(self, vectors: Any, steps: int, sources: int) -> Embedding:
        request, recipe = self.request, self.recipe
        return Embedding(
            request.name,
            vectors,
            metadata.describe(
                name=request.name,
                encoders=list(vectors),
                num_vectors=recipe.num_vectors,
                base_model=request.base_model,
                initializer_text=self.initializer_text,
                kind=recipe.kind,
                steps=steps,
                pictures=sources,
                recipe=recipe.as_dict(),
                resolution=self.size,
            ),
        )

    def _figures(self, path: Path, finished: Finished, progress: NodeProgress) -> dict[str, Any]:
        return {
            "file": str(path),
            "steps": finished.step,
            "stopped": finished.reason,
            "best_step": finished.best_step,
            "seconds": round(progress.seconds, 1),
            "steps_per_second": round(finished.step / max(progress.seconds, 1e-9), 3),
            "probe_loss_before": round(finished.initial_loss, 6),
            "probe_loss_after": round(finished.best_loss, 6),
        }
