"""Bundle into LoRA: a copy of a LoRA file that brings its embeddings along."""

from comfy_api.latest import io, ui

from ..embeddings_io.formats import lora_bundle
from ..host.folders import listed_loras, listed_name, lora_path, new_lora_path
from .schema_fields import aliases
from .wires import CATEGORY, EmbeddingWire


class BundleIntoLora(io.ComfyNode):
    """Schema and hand-over of the bundling node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_BundleIntoLora",
            display_name="Bundle into LoRA",
            category=CATEGORY,
            description=(
                "Writes a copy of a LoRA file that has embeddings bundled inside, as OneTrainer "
                "and A1111 use them. The LoRA's own weights are the same to the last bit."
            ),
            **aliases("textual inversion", "bundle_emb"),
            is_output_node=True,
            is_input_list=True,
            inputs=[
                io.Combo.Input(
                    "lora_name",
                    options=listed_loras(),
                    tooltip="The LoRA file in models/loras to start from; it stays as it is.",
                ),
                EmbeddingWire.Input(
                    "embeddings",
                    tooltip="One embedding or a list of them. One of a name that the LoRA has "
                    "bundled already takes its place.",
                ),
                io.String.Input(
                    "name",
                    default="",
                    tooltip="Name of the new file in models/loras, without ending, with '/' for "
                    "sub-folders. Empty appends '-with-embeddings' to the old one.",
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace a file of this name; otherwise that is an error.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="lora_name",
                    tooltip="The new file, as Load LoRA lists it after a refresh.",
                ),
            ],
        )

    @classmethod
    def execute(cls, lora_name, embeddings, name=("",), overwrite=(False,)):
        path = lora_path(lora_name[0])
        new_path = new_lora_path(lora_name[0], name[0].strip())
        lora_bundle.write(path, embeddings, new_path, overwrite=overwrite[0])
        bundled = ", ".join(lora_bundle.names(new_path))
        shown = ui.PreviewText(f"{new_path}\nholds {bundled}")
        return io.NodeOutput(listed_name(new_path), ui=shown)
