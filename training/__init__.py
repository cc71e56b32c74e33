"""The training engine: pure torch, no ComfyUI. Vectors in, better vectors out."""
