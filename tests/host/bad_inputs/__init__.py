"""A custom node pack for the tests: inputs that core nodes never give."""

import types

import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.text_encoders.sd2_clip
import torch

TEXT_CONFIG = {
    "hidden_size": 1024,
    "intermediate_size": 64,
    "num_attention_heads": 16,
    "num_hidden_layers": 2,
    "max_position_embeddings": 77,
    "hidden_act": "gelu",
    "vocab_size": 49408,
    "layer_norm_eps": 1e-5,
    "eos_token_id": 49407,
    "projection_dim": 1024,
}
UNET_CONFIG = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1],
    "transformer_depth": [1],
    "transformer_depth_output": [1, 1],
    "transformer_depth_middle": 1,
    "channel_mult": [1],
    "context_dim": 2048,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
    "legacy": False,
    "num_head_channels": 32,
    "use_temporal_attention": False,
}


class Pictures:
    """Pictures as a batch or a list: NaN, none at all, or of different sizes."""

    CATEGORY = "testing"
    FUNCTION = "give"
    RETURN_TYPES = ("IMAGE",)
    OUTPUT_IS_LIST = (True,)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"which": (["nan", "none", "different sizes", "tiny"],)}}

    def give(self, which):
        torch.manual_seed(0)
        if which == "none":
            return ([torch.zeros(0, 64, 64, 3)],)
        if which == "tiny":
            return ([torch.rand(1, 4, 4, 3)],)
        if which == "nan":
            pictures = torch.rand(3, 64, 64, 3)
            pictures[1, 5, 5, 0] = float("nan")
            return ([pictures],)
        return ([torch.rand(2, 64, 64, 3), torch.rand(1, 96, 64, 3), torch.rand(1, 64, 104, 3)],)


class _WideText(comfy.sd1_clip.SDClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None, **_):
        super().__init__(
            device=device,
            dtype=dtype,
            layer="last",
            textmodel_json_config=TEXT_CONFIG,
            special_tokens={"start": 49406, "end": 49407, "pad": 0},
            model_options=model_options or {},
        )


class _WideClip(comfy.sd1_clip.SD1ClipModel):
    def __init__(self, device="cpu", dtype=None, model_options=None, **_):
        super().__init__(
            device=device,
            dtype=dtype,
            model_options=model_options or {},
            clip_name="h",
            clip_model=_WideText,
        )


class ForeignClip:
    """A CLIP 1024 wide, as Stable Diffusion 2 has."""

    CATEGORY = "testing"
    FUNCTION = "give"
    RETURN_TYPES = ("CLIP",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {}}

    def give(self):
        tokenizer = comfy.text_encoders.sd2_clip.SD2Tokenizer
        target = types.SimpleNamespace(clip=_WideClip, tokenizer=tokenizer, params={})
        return (comfy.sd.CLIP(target, embedding_directory=None),)


class ForeignModel:
    """A MODEL of the SDXL family, tiny."""

    CATEGORY = "testing"
    FUNCTION = "give"
    RETURN_TYPES = ("MODEL",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {}}

    def give(self):
        config = comfy.supported_models.SDXL(dict(UNET_CONFIG))
        config.set_inference_dtype(torch.float32, None)
        model = config.get_model({}, device=torch.device("cpu"))
        cpu = torch.device("cpu")
        patcher = comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)
        return (patcher,)


NODE_CLASS_MAPPINGS = {
    "TestPictures": Pictures,
    "TestForeignClip": ForeignClip,
    "TestForeignModel": ForeignModel,
}
