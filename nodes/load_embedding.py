"""Load Embedding: a file of the library, ready for prompts and for the other nodes."""

from comfy_api.latest import io, ui

from ..embeddings_io.summary import summary
from ..host.clip_encoders import fit_in
from ..host.clip_with import clip_with
from ..host.folders import library
from .file_inputs import file_input
from .schema_fields import aliases
from .wires import CATEGORY, EmbeddingWire


class LoadEmbedding(io.ComfyNode):
    """Schema and hand-over of the loading node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_LoadEmbedding",
            display_name="Load Embedding",
            category=CATEGORY,
            description=(
                "Loads a Textual Inversion embedding of any format and gives a CLIP that knows "
                "it; says what the file is, and whether the CLIP can use it."
            ),
            **aliases("textual inversion", "embedding picker"),
            inputs=[
                file_input(),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder that is to know the embedding. Without it the file "
                    "is still loaded, and the clip output is empty.",
                ),
            ],
            outputs=[
                io.Clip.Output(
                    display_name="clip",
                    tooltip="The same text encoder, in whose prompts embedding:name is this file.",
                ),
                EmbeddingWire.Output(display_name="embedding", tooltip="The embedding itself."),
                io.String.Output(
                    display_name="prompt_text",
                    tooltip="embedding:name; wire it into a prompt, which is then encoded again "
                    "when the file changes.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, embedding_name, clip=None):
        return library().fingerprint(embedding_name)

    @classmethod
    def execute(cls, embedding_name, clip=None):
        files = library()
        embedding = files.read(embedding_name)
        lines = summary(embedding, files.facts(embedding_name).label)
        lines += [f"also there: {path}" for path in files.duplicates(embedding_name)]
        knowing = clip_with(clip, [embedding]) if clip is not None else None
        warning = fit_in(embedding, clip).warning if clip is not None else ""
        lines += [f"Warning: {warning}"] if warning else []
        shown = ui.PreviewText("\n".join(lines))
        return io.NodeOutput(knowing, embedding, embedding.prompt_text, ui=shown)
