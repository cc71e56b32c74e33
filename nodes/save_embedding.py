"""Save Embedding: write an embedding where ComfyUI finds it."""

from comfy_api.latest import io, ui

from ..embeddings_io.formats import DEFAULT
from ..embeddings_io.saving import save
from ..embeddings_io.summary import summary
from ..embeddings_io.thumbnails import thumbnail, with_cover
from ..host.folders import SAVE_PLACES, place_folder
from .file_inputs import format_input, picture_in_file_input, place_input
from .wires import CATEGORY, EmbeddingWire


class SaveEmbedding(io.ComfyNode):
    """Schema and hand-over of the saving node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_SaveEmbedding",
            display_name="Save Embedding",
            category=CATEGORY,
            description=(
                "Writes an embedding to models/embeddings, as ComfyUI's safetensors or in "
                "another program's format."
            ),
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
                format_input(optional=True),
                picture_in_file_input(),
                place_input(optional=True),
            ],
            outputs=[
                io.String.Output(
                    display_name="prompt_text",
                    tooltip="embedding:name; wire it into a prompt, so that it waits for the file.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        embedding,
        name="",
        overwrite=False,
        preview=None,
        format=DEFAULT,
        picture_in_file=False,
        place=SAVE_PLACES[0],
    ):
        named = embedding.renamed(name.strip() or embedding.name).identified()
        picture = thumbnail(preview) if preview is not None else None
        if picture is not None and picture_in_file:
            named = with_cover(named, picture)
        folder = place_folder(place)
        path = save(named, folder, format_name=format, overwrite=overwrite, thumbnail=picture)
        shown = ui.PreviewText("\n".join([*summary(named), f"Saved as {path}"]))
        return io.NodeOutput(named.prompt_text, ui=shown)
