"""Convert Embedding: a file of the library, written once more in another format."""

from comfy_api.latest import io, ui

from ..embeddings_io.conversion import convert
from ..host.folders import SAVE_PLACES, library, place_folder
from .file_inputs import file_input, format_input, place_input
from .schema_fields import aliases
from .wires import CATEGORY, EmbeddingWire


class ConvertEmbedding(io.ComfyNode):
    """Schema and hand-over of the converting node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_ConvertEmbedding",
            display_name="Convert Embedding",
            category=CATEGORY,
            description=(
                "Reads an embedding of any format and writes it in the one you choose; the file "
                "it came from stays as it is. A bundle gives one file for each embedding in it."
            ),
            **aliases("textual inversion", "pt to safetensors"),
            is_output_node=True,
            inputs=[
                file_input(),
                format_input(),
                io.String.Input(
                    "name",
                    default="",
                    tooltip="Name of the new file, with '/' for sub-folders. Empty keeps the name "
                    "that the file or the bundle gives; a bundle of several must keep them.",
                ),
                place_input(),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace a file that is there already; otherwise that is an error.",
                ),
            ],
            outputs=[
                EmbeddingWire.Output(
                    display_name="embeddings",
                    is_output_list=True,
                    tooltip="What was read, one after the other.",
                ),
                io.String.Output(
                    display_name="files", tooltip="The files that were written, one a line."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, embedding_name, **_):
        return library().fingerprint(embedding_name)

    @classmethod
    def execute(cls, embedding_name, format, name="", place=SAVE_PLACES[0], overwrite=False):
        embeddings = library().read_many(embedding_name, rename=name.strip())
        files = convert(embeddings, place_folder(place), format, overwrite=overwrite)
        lines = [f"{one.prompt_text}, {one.describe()}" for one in embeddings]
        written = "\n".join(str(file) for file in files)
        shown = ui.PreviewText("\n".join([*lines, written]))
        return io.NodeOutput(list(embeddings), written, ui=shown)
