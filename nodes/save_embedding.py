"""Save Embedding: write an embedding where ComfyUI finds it."""

from comfy_api.latest import io, ui

from ..embeddings_io.saving import save
from ..embeddings_io.thumbnails import thumbnail
from ..host.folders import save_folder
from .wires import CATEGORY, EmbeddingWire


class SaveEmbedding(io.ComfyNode):
    """Schema and hand-over of the saving node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_SaveEmbedding",
            display_name="Save Embedding",
            category=CATEGORY,
            description="Writes an embedding to models/embeddings as a safetensors file.",
            is_output_node=True,
            inputs=[
                EmbeddingWire.Input("embedding", tooltip="The embedding to save."),
                io.String.Input(
                    "name",
                    default="",
                    tooltip="Name of the file and of the word: embedding:name. Letters without "
                    "accents, digits, '_', '-', '.' and '/' for sub-folders, at most 100. Empty "
                    "keeps the embedding's own name.",
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace an embedding of this name; otherwise that is an error.",
                ),
                io.Image.Input(
                    "preview",
                    optional=True,
                    tooltip="The picture that ComfyUI's model library shows for it; the first of "
                    "a batch, at most 512 px.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="prompt_text",
                    tooltip="embedding:name; wire it into a prompt, so that it waits for the file.",
                ),
            ],
        )

    @classmethod
    def execute(cls, embedding, name="", overwrite=False, preview=None):
        named = embedding.renamed(name.strip()) if name.strip() else embedding
        picture = thumbnail(preview) if preview is not None else None
        path = save(named, save_folder(), overwrite=overwrite, thumbnail=picture)
        shown = ui.PreviewText(f"{named.prompt_text}\n{named.describe()}\nSaved as {path}")
        return io.NodeOutput(named.prompt_text, ui=shown)
