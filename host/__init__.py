"""The only package that imports ComfyUI: adapters between its objects and ours."""
