"""Workflows in ComfyUI's API format, built of core nodes and the pack's own."""

from __future__ import annotations

from typing import Any

Workflow = dict[str, dict[str, Any]]

LOADER = "checkpoint"
TRAINER = "train"
SAVED = "save"


def training(
    checkpoint: str, pictures: list[str], *, extra_inputs: Workflow | None = None, **inputs: Any
) -> Workflow:
    """Uploaded pictures, batched by core's ImageBatch, into Train Embedding.

    ``inputs`` are the node's own (name, initializer_text, steps, ...); ``extra_inputs`` are
    further nodes that they may point at.
    """
    workflow: Workflow = {LOADER: _node("CheckpointLoaderSimple", ckpt_name=checkpoint)}
    workflow |= extra_inputs or {}
    for index, picture in enumerate(pictures):
        workflow[f"picture{index}"] = _node("LoadImage", image=picture)
    images: list[Any] = ["picture0", 0]
    for index in range(1, len(pictures)):
        workflow[f"batch{index}"] = _node(
            "ImageBatch", image1=images, image2=[f"picture{index}", 0]
        )
        images = [f"batch{index}", 0]
    links = {"model": [LOADER, 0], "clip": [LOADER, 1], "vae": [LOADER, 2], "images": images}
    workflow[TRAINER] = _node("TI_TrainEmbedding", **{**links, **inputs})
    return workflow


def sampling(
    checkpoint: str,
    prompt: Any,
    *,
    seed: int = 1,
    count: int = 1,
    size: int = 64,
    steps: int = 25,
    cfg: float = 5.0,
    negative: str = "",
    prefix: str = "picture",
) -> Workflow:
    """The classic of core nodes alone: checkpoint, prompt, KSampler, saved pictures."""
    return {
        LOADER: _node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "positive": _node("CLIPTextEncode", clip=[LOADER, 1], text=prompt),
        "negative": _node("CLIPTextEncode", clip=[LOADER, 1], text=negative),
        "empty": _node("EmptyLatentImage", width=size, height=size, batch_size=count),
        "sample": _node(
            "KSampler",
            model=[LOADER, 0],
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["empty", 0],
            seed=seed,
            steps=steps,
            cfg=cfg,
            sampler_name="dpmpp_2m",
            scheduler="karras",
            denoise=1.0,
        ),
        "decode": _node("VAEDecode", samples=["sample", 0], vae=[LOADER, 2]),
        SAVED: _node("SaveImage", images=["decode", 0], filename_prefix=prefix),
    }


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
