"""Prompts as people write them, what they mean, and how ComfyUI's own tokenizers read them."""
