"""Embedding Carrier: an embedding inside the workflow itself."""

from comfy_api.latest import io

from ..embeddings_io.carrier import pack, unpack
from ..host.clip_with import clip_with
from .schema_fields import aliases
from .wires import CATEGORY, EmbeddingWire


class EmbeddingCarrier(io.ComfyNode):
    """Schema and hand-over of the carrying node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_EmbeddingCarrier",
            display_name="Embedding Carrier",
            category=CATEGORY,
            description=(
                "Keeps an embedding in the workflow, so that the workflow, or a picture made with "
                "it, brings its own words to another machine. Nothing is written to disk."
            ),
            **aliases("share embedding", "textual inversion"),
            inputs=[
                io.String.Input(
                    "data",
                    default="",
                    multiline=True,
                    tooltip="The embedding as text; filled in when one is connected and the "
                    "workflow runs. At most 192 KiB, which is 24 vectors of SDXL.",
                ),
                EmbeddingWire.Input(
                    "embedding",
                    optional=True,
                    tooltip="The embedding to carry. Run once, then remove the wire.",
                ),
                io.Clip.Input(
                    "clip", optional=True, tooltip="The text encoder that is to know the word."
                ),
            ],
            outputs=[
                io.Clip.Output(
                    display_name="clip",
                    tooltip="The same text encoder, in whose prompts embedding:name is this one.",
                ),
                EmbeddingWire.Output(
                    display_name="embedding", tooltip="The embedding; Save Embedding writes it."
                ),
                io.String.Output(
                    display_name="prompt_text", tooltip="embedding:name, to be wired into a prompt."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, data, embedding=None, clip=None):
        packed = pack(embedding) if embedding is not None else data
        carried = unpack(packed)
        knowing = clip_with(clip, [carried], "carried") if clip is not None else None
        shown = {
            "text": [f"{carried.prompt_text}\n{carried.describe()}"],
            "carried": [packed],
        }
        return io.NodeOutput(knowing, carried, carried.prompt_text, ui=shown)
