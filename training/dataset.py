"""Training pictures as cached latents, and the seeded draw of a batch of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from .pictures import Frame


@dataclasses.dataclass(frozen=True)
class CachedPicture:
    """A picture's latent moments ``[C, h, w]`` in the model's latent space, and its caption.

    ``std`` is None where the autoencoder is deterministic. ``source`` numbers the picture, so
    that a mirrored twin is known as the same one. ``mask`` ``[h, w]`` weighs the loss, with a
    mean of 1. ``concept`` numbers the word it shows where several are learnt together. ``good``
    marks the pictures a negative word should not explain. ``original`` is the given picture's
    (height, width) in pixels, ``crop`` the (top, left) of what was cut out of it after scaling.
    """

    mean: torch.Tensor
    std: torch.Tensor | None
    source: int
    caption: str | None = None
    mask: torch.Tensor | None = None
    flipped: bool = False
    concept: int = 0
    good: bool = False
    original: tuple[int, int] = (0, 0)
    crop: tuple[int, int] = (0, 0)

    @property
    def frame(self) -> Frame | None:
        """How the picture was cut, or None where that is not known."""
        if not all(self.original):
            return None
        height, width = (8 * side for side in self.mean.shape[-2:])
        return Frame(*self.original, *self.crop, height, width)

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        """A latent drawn from the moments: mean + std * noise."""
        if self.std is None:
            return self.mean
        noise = torch.randn(self.mean.shape, generator=generator)
        return self.mean + self.std * noise.to(self.mean)


class Dataset:
    """Pictures in buckets of one latent shape; a batch comes from one bucket.

    A bucket is gone through in random order, every picture once before any comes again, and
    buckets are chosen in proportion to their size.
    """

    def __init__(self, pictures: Sequence[CachedPicture]) -> None:
        if not pictures:
            raise ValueError("There are no pictures to learn from; connect at least one.")
        self.pictures = tuple(pictures)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(self.pictures):
            shapes.setdefault(tuple(picture.mean.shape), []).append(index)
        self.shapes = tuple(shapes)
        self.buckets = tuple(tuple(members) for members in shapes.values())
        self.queues: list[list[int]] = [[] for _ in self.buckets]

    @property
    def num_sources(self) -> int:
        """How many pictures were given, mirrored twins not counted."""
        return len({picture.source for picture in self.pictures})

    def draw(
        self, count: int, generator: torch.Generator, shape: tuple[int, ...] | None = None
    ) -> list[CachedPicture]:
        """``count`` pictures of one bucket, all different while the bucket is large enough.

        ``shape`` asks for the bucket of that latent shape instead of a drawn one.
        """
        bucket = self._choose_bucket(generator) if shape is None else self.shapes.index(shape)
        queue = self.queues[bucket]
        while len(queue) < count:
            members = self.buckets[bucket]
            order = torch.randperm(len(members), generator=generator).tolist()
            queue += [members[index] for index in order]
        taken = _distinct_first(queue, count)
        self.queues[bucket] = queue
        return [self.pictures[index] for index in taken]

    def _choose_bucket(self, generator: torch.Generator) -> int:
        if len(self.buckets) == 1:
            return 0
        sizes = torch.tensor([float(len(members)) for members in self.buckets])
        return int(torch.multinomial(sizes, 1, generator=generator))

    def state_dict(self) -> dict[str, Any]:
        """The order still to come in every bucket."""
        return {"queues": [list(queue) for queue in self.queues]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.queues = [list(queue) for queue in state["queues"]]


def _distinct_first(queue: list[int], count: int) -> list[int]:
    """Take ``count`` entries off the queue's front, passing over repeats while others follow."""
    taken: list[int] = []
    position = 0
    while len(taken) < count and position < len(queue):
        if queue[position] in taken and len(set(queue)) > len(set(taken)):
            position += 1
        else:
            taken.append(queue.pop(position))
    while len(taken) < count:
        taken.append(queue.pop(0))
    return taken
