"""Describe Embedding: what a file says about itself, written into the file."""

from comfy_api.latest import io, ui

from ..embeddings_io.editing import edit_metadata
from ..embeddings_io.metadata import edited, told
from ..embeddings_io.saving import save_sidecar
from ..embeddings_io.thumbnails import covered, thumbnail
from ..host.folders import library, listed_files
from .file_inputs import picture_in_file_input
from .schema_fields import aliases
from .wires import CATEGORY

LEAVE = "Empty leaves it as it is, - takes it out."


class DescribeEmbedding(io.ComfyNode):
    """Schema and hand-over of the describing node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_DescribeEmbedding",
            display_name="Describe Embedding",
            category=CATEGORY,
            description=(
                "Changes the title, trigger words, author, licence and picture of a safetensors "
                "file, which ComfyUI's model library shows. Its vectors stay bit for bit the same."
            ),
            **aliases("textual inversion", "metadata", "thumbnail"),
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "embedding_name",
                    options=listed_files(),
                    tooltip="A safetensors file in models/embeddings or its sub-folders.",
                ),
                io.String.Input("title", default="", tooltip=f"What lists show. {LEAVE}"),
                io.String.Input(
                    "trigger_words",
                    default="",
                    tooltip=f"What to write in a prompt to use it. {LEAVE}",
                ),
                io.String.Input(
                    "description", default="", multiline=True, tooltip=f"What it shows. {LEAVE}"
                ),
                io.String.Input(
                    "usage_hint",
                    default="",
                    tooltip=f"What helps, such as a weight or a checkpoint. {LEAVE}",
                ),
                io.String.Input("author", default="", tooltip=f"Who made it. {LEAVE}"),
                io.String.Input(
                    "license", default="", tooltip=f"The licence, such as CC-BY-4.0. {LEAVE}"
                ),
                io.String.Input("tags", default="", tooltip=f"Separated by commas. {LEAVE}"),
                io.Image.Input(
                    "preview",
                    optional=True,
                    tooltip="A new picture for ComfyUI's model library; the first of a batch.",
                ),
                picture_in_file_input(),
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="What the file says now."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, embedding_name, **_):
        return library().fingerprint(embedding_name)

    @classmethod
    def execute(cls, embedding_name, preview=None, picture_in_file=False, **texts):
        path = library().resolve(embedding_name)
        picture = thumbnail(preview) if preview is not None else None
        inside = picture if picture_in_file else None
        said = edit_metadata(path, lambda now: covered(edited(now, texts), inside))
        if picture is not None:
            save_sidecar(path, picture)
        text = "\n".join(told(said))
        return io.NodeOutput(text, ui=ui.PreviewText(text))
