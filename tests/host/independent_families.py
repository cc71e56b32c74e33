"""SDXL and Stable Diffusion 2 by transformers and diffusers, to compare loss and gradient with.

As in ``independent``, nothing is shared with the pack: other encoders, another UNet, DDPM's
schedule, diffusers' own translation of weight names, and the new word as extra table rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from textual_inversion.tests.host.tiny_families import LAYERS, THIN, Written

TABLE = "text_model.embeddings.token_embedding.weight"
END, FIRST_NEW = 49407, 49408
WIDTHS = {"clip_l": (768, 12, "quick_gelu"), "clip_g": (1280, 20, "gelu")}
WIDTHS["clip_h"] = (1024, 16, "gelu")
PADDING = {"clip_l": END, "clip_g": 0, "clip_h": 0}
UNET = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "act_fn": "silu",
    "use_linear_projection": True,
}
SDXL_UNET = {
    **UNET,
    "block_out_channels": (320, 320, 320),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": 5,
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SD2_UNET = {
    **UNET,
    "block_out_channels": (320, 320, 320, 320),
    "down_block_types": ("CrossAttnDownBlock2D", *["DownBlock2D"] * 3),
    "up_block_types": (*["UpBlock2D"] * 3, "CrossAttnUpBlock2D"),
    "mid_block_type": "UNetMidBlock2D",
    "attention_head_dim": 5,
    "cross_attention_dim": 1024,
}


class IndependentFamily:
    """The loss of a batch, float32 throughout; ``prediction`` is diffusers' word."""

    def __init__(self, written: Written, tokenizer_folder: Path, prediction: str) -> None:
        from diffusers import DDPMScheduler, UNet2DConditionModel
        from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
        from transformers import CLIPTokenizer

        self.tokenizer = CLIPTokenizer.from_pretrained(str(tokenizer_folder))
        self.encoders = {key: text_encoder(key, state) for key, state in written.text.items()}
        config = SDXL_UNET if len(self.encoders) == 2 else SD2_UNET
        self.unet = UNet2DConditionModel(**config).eval()
        state = {f"model.diffusion_model.{name}": t for name, t in written.unet.items()}
        renamed = convert_ldm_unet_checkpoint(state, dict(self.unet.config))
        self.unet.load_state_dict(renamed, strict=True)
        self.unet.requires_grad_(False)
        self.schedule = DDPMScheduler(
            num_train_timesteps=1000,
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            prediction_type=prediction,
        )

    def loss(
        self,
        prompts: Sequence[str],
        vectors: Mapping[str, torch.Tensor],
        latents: torch.Tensor,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        sizes: Sequence[Sequence[int]],
    ) -> torch.Tensor:
        """Mean squared error of what the network predicts; ``sizes`` as SDXL's time ids."""
        contexts, pooled = [], None
        for key, encoder in self.encoders.items():
            context, pooled = self._encode(key, encoder, prompts, vectors[key])
            contexts.append(context)
        conditions = {}
        if len(self.encoders) == 2:
            time_ids = torch.tensor([list(each) for each in sizes], dtype=torch.float32)
            conditions = {"text_embeds": pooled, "time_ids": time_ids}
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        predicted = self.unet(
            noisy,
            timesteps,
            encoder_hidden_states=torch.cat(contexts, dim=-1),
            added_cond_kwargs=conditions,
        ).sample
        velocity = self.schedule.config.prediction_type == "v_prediction"
        target = self.schedule.get_velocity(latents, noise, timesteps) if velocity else noise
        return torch.nn.functional.mse_loss(predicted, target)

    def _encode(
        self, key: str, encoder: torch.nn.Module, prompts: Sequence[str], vectors: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        ids = torch.tensor(
            [self._ids(prompt, vectors.shape[0], PADDING[key]) for prompt in prompts]
        )
        table = torch.cat([dict(encoder.named_parameters())[TABLE], vectors])
        out = torch.func.functional_call(
            encoder, {TABLE: table}, (ids,), {"output_hidden_states": True}
        )
        hidden = out.hidden_states[-2]
        if key == "clip_h":
            hidden = encoder.text_model.final_layer_norm(hidden)
        return hidden, out.text_embeds

    def _ids(self, prompt: str, count: int, padding: int) -> list[int]:
        word = [FIRST_NEW + index for index in range(count)]
        ids = [49406]
        for number, part in enumerate(prompt.split("{}")):
            ids += word if number else []
            ids += self.tokenizer(part, add_special_tokens=False)["input_ids"]
        ids.append(END)
        return ids + [padding] * (77 - len(ids))


def text_encoder(key: str, state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """transformers' encoder with these weights; its end token is the first 49407 of a row."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    width, heads, activation = WIDTHS[key]
    encoder = CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=width,
            intermediate_size=THIN,
            num_hidden_layers=LAYERS,
            num_attention_heads=heads,
            hidden_act=activation,
            projection_dim=width,
            eos_token_id=END,
            bos_token_id=49406,
            pad_token_id=END,
        )
    ).eval()
    missing, unexpected = encoder.load_state_dict(dict(state), strict=False)
    assert not [name for name in missing if "position_ids" not in name], missing
    assert not unexpected, unexpected
    return encoder.requires_grad_(False)
