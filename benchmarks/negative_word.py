"""Does a learnt negative word make pictures sounder? Plain and told apart from good pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from microworld import concepts, renderer, world
from microworld.judge import trained
from microworld.learning import Learner
from microworld.sampler import STEPS

from .scores import sampled
from .t90 import Interval, paired

PROMPTS = (
    "a blurry photo of a red circle",
    "a blurry picture of a toy",
    "blurry, a yellow star on grass",
    "a photo of a blue square, blurry",
    "a picture",
    "a photo of a toy",
)
GOOD_PICTURES = 6
NAME = "measured"


@dataclass(frozen=True)
class Soundness:
    """What stood in the negative prompt, and the judge's probability that samples are sound.

    ``sure`` holds it for every prompt and noise; ``gain`` is its mean difference to an empty
    negative prompt at the same prompt and noise.
    """

    negative: str
    sure: Mapping[tuple[str, int], float]
    gain: Interval

    @property
    def mean(self) -> float:
        return sum(self.sure.values()) / len(self.sure)

    def of_prompt(self, prompt: str) -> float:
        """The mean over one prompt's samples."""
        own = [value for (text, _), value in self.sure.items() if text == prompt]
        return sum(own) / len(own)


def measure(learner: Learner, steps: int, count: int, seeds: Sequence[int]) -> list[Soundness]:
    """``count`` samples of each prompt under an empty, a written and learnt negative prompts."""
    empty = _scored(learner, "", {}, count)
    found = [
        _against(empty, "nothing", empty),
        _against(empty, "*blurry*", _scored(learner, "blurry", {}, count)),
    ]
    for contrast, name in ((False, "learnt from bad pictures"), (True, "learnt beside good ones")):
        for seed in seeds:
            vectors = _learnt(learner, steps, seed, contrast=contrast)
            sure = _scored(learner, f"embedding:{NAME}", vectors, count)
            found.append(_against(empty, f"{name}, seed {seed}", sure))
    return found


def table(found: Sequence[Soundness]) -> str:
    """The probabilities in Markdown, a column for every prompt."""
    lines = [
        "| negative prompt | sound | gain | " + " | ".join(f"*{p}*" for p in PROMPTS) + " |",
        "|---" * (3 + len(PROMPTS)) + "|",
    ]
    for each in found:
        shares = " | ".join(f"{each.of_prompt(prompt):.2f}" for prompt in PROMPTS)
        gain = f"{each.gain.value:+.3f} ({each.gain.low:+.3f} to {each.gain.high:+.3f})"
        lines.append(f"| {each.negative} | {each.mean:.3f} | {gain} | {shares} |")
    lines += [
        "",
        "The judge's probability that a picture is sound; gain over an empty negative prompt with "
        "the same prompt and noise, with its 95 % bootstrap interval over prompts and noises.",
    ]
    return "\n".join(lines)


def _against(
    empty: Mapping[tuple[str, int], float], name: str, sure: Mapping[tuple[str, int], float]
) -> Soundness:
    return Soundness(name, sure, paired({key: sure[key] - empty[key] for key in sure}))


def _learnt(learner: Learner, steps: int, seed: int, *, contrast: bool) -> Mapping[str, Any]:
    """The vectors that the node would save."""
    from textual_inversion.nodes.training_request import TrainingRequest
    from textual_inversion.nodes.training_run import TrainingRun
    from textual_inversion.training.presets import filled_in

    bad = concepts.pictures(concepts.concept("spoilt"), seed=seed).movedim(1, -1)
    generator = torch.Generator().manual_seed(1000 + seed)
    good = renderer.render(world.scenes_like(GOOD_PICTURES, generator, spoilt=False))
    given = {"steps": steps, "seed": seed, "preview_every": 0}
    recipe = filled_in("negative", 0.0, {}).changed(**given)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        request = TrainingRequest(
            model=learner.sampler.model,
            clip=learner.sampler.clip,
            vae=learner.sampler.vae,
            images=[bad],
            captions=(),
            name=NAME,
            initializer_text="object",
            recipe=recipe,
            overwrite=True,
            folder=Path(folder),
            good_images=[good.movedim(1, -1)] if contrast else (),
        )
        return TrainingRun(request).execute().embedding.vectors


def _scored(
    learner: Learner, negative: str, vectors: Mapping[str, Any], count: int
) -> dict[tuple[str, int], float]:
    from textual_inversion.embeddings_io.embedding import Embedding
    from textual_inversion.host.clip_with import clip_with

    clip = learner.sampler.clip
    if vectors:
        clip = clip_with(clip, [Embedding(NAME, dict(vectors), {})])
    encode = learner.sampler.nodes.CLIPTextEncode().encode
    with torch.inference_mode():
        conditioning = encode(clip, negative)[0]
        contexts = [encode(learner.sampler.clip, text)[0][0][0] for text in PROMPTS]
    keys = [(prompt, noise) for prompt in PROMPTS for noise in range(count)]
    samples = sampled(
        learner,
        [context for context in contexts for _ in range(count)],
        [noise for _, noise in keys],
        STEPS,
        conditioning,
    )
    with torch.no_grad():
        sure = trained()(samples)["quality"].softmax(1)[:, 0]
    return dict(zip(keys, sure.tolist(), strict=True))
