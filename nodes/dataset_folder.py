"""Dataset Folder: the pictures of an input folder, with their captions and masks."""

from comfy_api.latest import io, ui

from ..host.picture_folder import fingerprint, picture_folders, read_folder
from .schema_fields import aliases
from .wires import CATEGORY


class DatasetFolder(io.ComfyNode):
    """Schema and hand-over of the folder node."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="TI_DatasetFolder",
            display_name="Dataset Folder",
            category=CATEGORY,
            description=(
                "Reads every picture of a folder in ComfyUI's input directory, with the captions "
                "and masks beside them, for Train Embedding."
            ),
            **aliases("load images from folder", "captions", "training pictures"),
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=picture_folders(),
                    tooltip="A folder of the input directory that holds pictures; . is the input "
                    "directory itself. Press R to refresh.",
                ),
                io.Int.Input(
                    "largest_side",
                    default=2048,
                    min=64,
                    max=8192,
                    optional=True,
                    tooltip="Larger pictures are scaled down to this many pixels on their longer "
                    "side while reading, to spare memory.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    is_output_list=True,
                    tooltip="The pictures, upright, each in its own size.",
                ),
                io.String.Output(
                    display_name="captions",
                    is_output_list=True,
                    tooltip="The text of each picture's .txt file, empty where there is none.",
                ),
                io.Mask.Output(
                    display_name="masks",
                    is_output_list=True,
                    tooltip="What counts, in white: name.mask.png or the picture's alpha; black "
                    "all over where there is neither.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder, largest_side=2048):
        return f"{fingerprint(folder)}-{largest_side}"

    @classmethod
    def execute(cls, folder, largest_side=2048):
        found = read_folder(folder, largest_side)
        images, masks = [each.pixels for each in found], [each.mask for each in found]
        captions = [each.caption for each in found]
        masked = sum(bool(mask.any()) for mask in masks)
        told = f"{len(found)} pictures, {sum(map(bool, captions))} captions, {masked} masks"
        return io.NodeOutput(images, captions, masks, ui=ui.PreviewText(told))
