"""Embeddings from LoRA: those that a LoRA file has bundled inside."""

from comfy_api.latest import io, ui

from ..embeddings_io.formats import lora_bundle
from ..embeddings_io.prompt import keyword_list
from ..host.clip_with import clip_with
from ..host.folders import listed_loras, lora_path
from .schema_fields import aliases
from .wires import CATEGORY, EmbeddingWire


class EmbeddingsFromLora(io.ComfyNode):
    """Schema and hand-over of the unpacking node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_EmbeddingsFromLora",
            display_name="Embeddings from LoRA",
            category=CATEGORY,
            description=(
                "Takes the embeddings that were trained together with a LoRA out of its file, and "
                "gives a CLIP that knows them. Load the LoRA itself with ComfyUI's Load LoRA."
            ),
            **aliases("textual inversion", "bundle_emb", "pivotal tuning"),
            inputs=[
                io.Combo.Input(
                    "lora_name",
                    options=listed_loras(),
                    tooltip="A LoRA file in models/loras. Only its bundled embeddings are read.",
                ),
                io.String.Input(
                    "names",
                    default="",
                    tooltip="Which of them, separated by commas; empty for all.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder that is to know them; without it that output is "
                    "empty.",
                ),
            ],
            outputs=[
                io.Clip.Output(
                    display_name="clip",
                    tooltip="The same text encoder, in whose prompts each name works.",
                ),
                EmbeddingWire.Output(
                    display_name="embeddings",
                    is_output_list=True,
                    tooltip="One after the other; Save Embedding then writes a file for each.",
                ),
                io.String.Output(
                    display_name="prompt_text",
                    tooltip="embedding:name of each, separated by commas.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, lora_name, **_):
        status = lora_path(lora_name).stat()
        return f"{status.st_mtime_ns} {status.st_size}"

    @classmethod
    def execute(cls, lora_name, names="", clip=None):
        found = lora_bundle.read(lora_path(lora_name), keyword_list(names) or None)
        knowing = clip_with(clip, found) if clip is not None else None
        shown = ui.PreviewText("\n".join(f"{one.prompt_text}, {one.describe()}" for one in found))
        text = ", ".join(one.prompt_text for one in found)
        return io.NodeOutput(knowing, found, text, ui=shown)
