"""Inputs for files of the library, worded once for every node that has them."""

from comfy_api.latest import io

from ..embeddings_io.formats import DEFAULT, WRITERS
from ..host.folders import SAVE_PLACES, listed_files


def file_input():
    """Any file of the library."""
    return io.Combo.Input(
        "embedding_name",
        options=listed_files(),
        tooltip="A file in models/embeddings or its sub-folders, A1111's picture cards included. "
        "Press R to refresh.",
    )


def format_input(**more):
    """The format to write in."""
    return io.Combo.Input(
        "format",
        options=list(WRITERS),
        default=DEFAULT,
        tooltip="comfyui: safetensors for ComfyUI, kohya and InvokeAI. a1111_pt: A1111's .pt. "
        "a1111_card: A1111's picture that holds the embedding. diffusers: its safetensors, two "
        "files for SDXL. sd3_flux: safetensors with T5's vectors under both names in use.",
        **more,
    )


def place_input(**more):
    """The folder to write to."""
    return io.Combo.Input(
        "place",
        options=list(SAVE_PLACES),
        default=SAVE_PLACES[0],
        tooltip="The folder: where ComfyUI's prompts find it, or ComfyUI's output folder, for "
        "files that are meant for other programs.",
        **more,
    )


def picture_in_file_input():
    """Whether the preview is kept within the file too."""
    return io.Boolean.Input(
        "picture_in_file",
        default=False,
        optional=True,
        tooltip="Also keep the preview within the file (at most 384 px, some 20 KB), so that it "
        "goes wherever the file goes.",
    )
