"""The choice of a file format, worded once for every node that writes files."""

FORMAT_TOOLTIP = (
    "comfyui: safetensors for ComfyUI, kohya and InvokeAI. a1111_pt: A1111's .pt. a1111_card: "
    "A1111's picture that holds the embedding. diffusers: its safetensors, two files for SDXL. "
    "sd3_flux: safetensors with T5's vectors under both names in use."
)
