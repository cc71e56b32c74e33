"""Concept: a word and its pictures, for learning several words in one run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from comfy_api.latest import io

from ..embeddings_io.embedding import Embedding
from .wires import CATEGORY, ConceptsWire, EmbeddingWire


@dataclasses.dataclass(frozen=True)
class ConceptToLearn:
    """What is said about one word; the rest is said once for all of them."""

    name: str
    initializer_text: str
    images: Sequence[torch.Tensor]
    captions: Sequence[str] = ()
    masks: Sequence[torch.Tensor] = ()
    initializer: Embedding | None = None


class Concept(io.ComfyNode):
    """Schema and hand-over of the concept node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_Concept",
            display_name="Concept",
            category=CATEGORY,
            description=(
                "A word and its pictures for Train Concepts; several are chained one into another."
            ),
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="3 to 10 pictures of what the word means; a batch or a list, of any "
                    "size.",
                ),
                io.String.Input(
                    "name",
                    default="my-word",
                    tooltip="Name of the file and of the word: embedding:name. Captions of any "
                    "concept may name it.",
                ),
                io.String.Input(
                    "initializer_text",
                    default="object",
                    tooltip="A word or two that come near, such as 'dog'; auto asks the model.",
                ),
                io.String.Input(
                    "captions",
                    optional=True,
                    force_input=True,
                    tooltip="A caption for every picture, as a list or one a line; names of "
                    "concepts in it mark their places.",
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="White is what should be learnt: a mask for every picture, or one for "
                    "all.",
                ),
                EmbeddingWire.Input(
                    "initializer",
                    optional=True,
                    tooltip="Start from this embedding's vectors instead of the initializer text.",
                ),
                ConceptsWire.Input(
                    "concepts",
                    optional=True,
                    tooltip="The concepts before this one, from another Concept.",
                ),
            ],
            outputs=[
                ConceptsWire.Output(
                    display_name="concepts", tooltip="This concept after those before it."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        images,
        name,
        initializer_text,
        captions=None,
        masks=None,
        initializer=None,
        concepts=None,
    ):
        before = tuple(each for group in concepts or () for each in group)
        added = ConceptToLearn(
            name[0],
            initializer_text[0],
            images,
            captions or (),
            masks or (),
            initializer[0] if initializer else None,
        )
        return io.NodeOutput((*before, added))
