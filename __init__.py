"""Textual Inversion for ComfyUI: train, load, save and prompt with embeddings."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> object:
    """The extension that ComfyUI loads; imported here, so that importing the pack stays cheap."""
    from .nodes import TextualInversionExtension

    return TextualInversionExtension()
