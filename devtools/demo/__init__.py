"""The demonstration: a word learnt in a real ComfyUI, with pictures before and after."""
