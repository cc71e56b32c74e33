"""Words scored by the judge: how well they show a concept, and whether it can be edited."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from microworld import archive, concepts, expand, world
from microworld.judge import trained
from microworld.learning import EDITS, TEMPLATES, Learner
from microworld.sampler import GUIDANCE, SAMPLER, SCHEDULER

SAMPLING_STEPS = 10
PICTURES_AT_ONCE = 40


@dataclass(frozen=True)
class Word:
    """What stands in the prompts for a concept, and the embeddings that it names."""

    concept: concepts.Concept
    text: str
    embeddings: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """Means of the judge's probabilities over the pictures of a word.

    ``reconstruction``: over the concept's attributes. ``editability``: of what the prompt asks
    for beside it. ``joint``: of both at once. Prompts that ask for what the concept itself
    decides, another style of a style, are left out.
    """

    reconstruction: float
    editability: float
    joint: float

    @property
    def harmonic(self) -> float:
        """H = 2 R J / (R + J)."""
        return harmonic(self.reconstruction, self.joint)


def harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def learnt_word(concept: concepts.Concept, vectors: Tensor) -> Word:
    return Word(concept, "embedding:measured", {"measured": vectors})


def oracle_word(concept: concepts.Concept) -> Word:
    """The words that say the concept; those cut out of the token table as their true vectors."""
    return Word(concept, concepts.spoken(concept), _amputated())


def initial_word(concept: concepts.Concept) -> Word:
    return Word(concept, concept.initializer)


@functools.cache
def _amputated() -> Mapping[str, Tensor]:
    return expand.amputated_vectors(archive.unpack())


def score(
    learner: Learner, words: Sequence[Word], *, rounds: int = 1, steps: int = SAMPLING_STEPS
) -> list[Score]:
    """The scores of all words, each with the same prompts and the same noise."""
    plain = TEMPLATES * (2 * rounds)
    edits = EDITS * rounds
    prompts = [*plain, *(edit.template for edit in edits)]
    encoded = [context for word in words for context in _encoded(learner, word, prompts)]
    noises = list(range(len(prompts))) * len(words)
    samples = sampled(learner, encoded, noises, steps).split(len(prompts))
    return [
        _scored(word, samples_of, len(plain), edits)
        for word, samples_of in zip(words, samples, strict=True)
    ]


def _scored(word: Word, samples: Tensor, plain: int, edits: Sequence) -> Score:
    with torch.no_grad():
        read = {name: logits.softmax(1) for name, logits in trained()(samples).items()}

    def sure(name: str, value: str) -> Tensor:
        return read[name][:, world.VALUES[name].index(value)]

    own = torch.stack([sure(name, value) for name, value in word.concept.fixed.items()])
    shown = [
        torch.stack([sure(name, value)[plain + row] for name, value in edit.asked.items()]).prod(0)
        for row, edit in enumerate(edits)
    ]
    asked = torch.stack(shown)
    free = torch.tensor([not set(edit.asked) & set(word.concept.fixed) for edit in edits])
    return Score(
        float(own[:, :plain].mean()),
        float(asked[free].mean()),
        float((asked * own[:, plain:].prod(0))[free].mean()),
    )


def _encoded(learner: Learner, word: Word, prompts: Sequence[str]) -> list[Tensor]:
    from textual_inversion.embeddings_io.embedding import Embedding
    from textual_inversion.host.clip_with import clip_with

    clip = learner.sampler.clip
    if word.embeddings:
        known = [Embedding(name, {"clip_l": rows}, {}) for name, rows in word.embeddings.items()]
        clip = clip_with(clip, known)
    encode = learner.sampler.nodes.CLIPTextEncode().encode
    with torch.inference_mode():
        texts = {prompt: prompt.format(word.text) for prompt in dict.fromkeys(prompts)}
        contexts = {prompt: encode(clip, text)[0][0][0] for prompt, text in texts.items()}
    return [contexts[prompt] for prompt in prompts]


@torch.inference_mode()
def sampled(
    learner: Learner,
    contexts: Sequence[Tensor],
    noises: Sequence[int],
    steps: int,
    negative: list | None = None,
) -> Tensor:
    """A picture ``[3, 64, 64]`` for every context, all against one ``negative`` conditioning.

    Equal numbers in ``noises`` start from equal noise.
    """
    nodes, sampler = learner.sampler.nodes, learner.sampler
    if negative is None:
        (negative,) = nodes.CLIPTextEncode().encode(sampler.clip, "")
    done = []
    for start in range(0, len(contexts), PICTURES_AT_ONCE):
        part = slice(start, start + PICTURES_AT_ONCE)
        context = torch.cat(list(contexts[part]))
        latent = {"samples": torch.zeros(len(context), 4, 8, 8), "batch_index": noises[part]}
        (sampled,) = nodes.KSampler().sample(
            sampler.model,
            0,
            steps,
            GUIDANCE,
            SAMPLER,
            SCHEDULER,
            [[context, {}]],
            negative,
            latent,
        )
        (images,) = nodes.VAEDecode().decode(sampler.vae, sampled)
        done.append(images.movedim(-1, 1).clone())
    return torch.cat(done)
