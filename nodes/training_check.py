"""Everything a person could have got wrong, found before any training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import torch

from ..embeddings_io.names import check_name
from ..embeddings_io.saving import check_target
from ..host.denoiser import prediction_of
from ..host.families import Family, identify
from ..host.text_encoder import ClipTextEncoder
from ..training.captions import with_word
from ..training.initial import check_initializer, vectors_like
from ..training.linter import lint
from ..training.pictures import Picture, prepare, prepare_good
from ..training.recipe import Recipe
from ..training.sentences import Sentences
from ..training.start import Initializer
from ..training.trainer import trained_keys
from .training_request import TrainingRequest


@dataclasses.dataclass(frozen=True)
class Checked:
    """A request that can be carried out: the model's family, pictures, and what to notice."""

    family: Family
    pictures: list[Picture]
    notices: tuple[str, ...]


def check(request: TrainingRequest, others: Sequence[str] = (), concept: int = 0) -> Checked:
    """Find whatever is wrong with the request; raises one clear error.

    ``others`` are the names of concepts that captions may name as well, where several are learnt
    together, and ``concept`` is this one's number among all.
    """
    check_name(request.name, subfolders=False)
    check_target(request.name, request.folder, overwrite=request.overwrite)
    family = identify(request.model, request.clip)
    prediction_of(request.model)
    trained_keys(request.recipe, family.encoder_keys)
    pictures, notice = with_word(_pictures(request), request.name, others)
    if concept:
        pictures = [dataclasses.replace(each, concept=concept) for each in pictures]
    if request.good_images:
        sizes = [(int(each.pixels.shape[0]), int(each.pixels.shape[1])) for each in pictures]
        pictures += prepare_good(request.good_images, sizes)
    encoder = ClipTextEncoder(request.clip, *family.encoder_keys)
    _check_start(request, encoder)
    if not others:
        check_prompts(request.recipe, encoder, pictures)
    remarks = _lint(request.recipe, encoder, pictures)
    return Checked(family, pictures, (*((notice,) if notice else ()), *remarks))


def check_prompts(
    recipe: Recipe, encoder: ClipTextEncoder, pictures: Iterable[Picture], words: Sequence[str] = ()
) -> None:
    """Raise PromptError where the vectors don't fit into a prompt the run may use."""
    Sentences(recipe, encoder, words).check(each for each in pictures if not each.good)


def initializer_of(request: TrainingRequest) -> Initializer:
    """Where the vectors start from."""
    embedding = request.initializer
    return Initializer(request.initializer_text, None if embedding is None else embedding.vectors)


def _pictures(request: TrainingRequest) -> list[Picture]:
    recipe = request.recipe
    return prepare(
        request.images,
        request.captions,
        resolution=recipe.resolution,
        flip=recipe.flip != "off",
        masks=request.masks,
        background=recipe.mask_background,
    )


def _check_start(request: TrainingRequest, encoder: ClipTextEncoder) -> None:
    initializer = initializer_of(request)
    if initializer.vectors is not None:
        vectors_like(initializer.vectors, encoder, 1, 0.0, torch.Generator())
    elif not initializer.searched:
        check_initializer(encoder.token_vectors(initializer.text), initializer.text)


def _lint(recipe: Recipe, encoder: ClipTextEncoder, pictures: Sequence[Picture]) -> list[str]:
    key = encoder.keys[0]
    captions = [each.caption for each in pictures if not (each.flipped or each.good)]
    return lint(
        recipe,
        norm=encoder.vocabulary_norm(key),
        width=int(encoder.token_vectors("a")[key].shape[1]),
        pictures=len(captions),
        captions=captions,
    )
