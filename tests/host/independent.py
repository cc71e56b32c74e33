"""The loss and its gradient by transformers and diffusers, from the same checkpoint file.

Nothing here is shared with the pack: another tokenizer run, another text encoder, another UNet,
the schedule of DDPM, and the new word as extra rows of the token table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

TABLE = "text_model.embeddings.token_embedding.weight"


class Independent:
    """A second implementation, float32 throughout."""

    def __init__(self, checkpoint: Path, tokenizer_folder: Path) -> None:
        from diffusers import DDPMScheduler
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

        state = {name: tensor.float() for name, tensor in load_file(checkpoint).items()}
        self.tokenizer = CLIPTokenizer.from_pretrained(str(tokenizer_folder))
        self.text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                hidden_act="quick_gelu",
                eos_token_id=49407,
                bos_token_id=49406,
                pad_token_id=49407,
            )
        ).eval()
        prefix = "cond_stage_model.transformer."
        text = {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}
        text = {name: t for name, t in text.items() if name in self.text.state_dict()}
        missing, _ = self.text.load_state_dict(text, strict=False)
        assert not [name for name in missing if "position_ids" not in name], missing
        prefix = "model.diffusion_model."
        unet = {name[len(prefix) :]: t for name, t in state.items() if name.startswith(prefix)}
        self.unet = diffusers_unet(unet)
        self.text.requires_grad_(False)
        self.unet.requires_grad_(False)
        self.schedule = DDPMScheduler(
            num_train_timesteps=1000,
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
        )

    def loss(
        self,
        prompts: Sequence[str],
        vectors: torch.Tensor,
        latents: torch.Tensor,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
    ) -> torch.Tensor:
        """Mean squared error of the noise prediction, the word being extra table rows."""
        ids = torch.tensor([self._ids(prompt, vectors.shape[0]) for prompt in prompts])
        table = torch.cat([dict(self.text.named_parameters())[TABLE], vectors])
        context = torch.func.functional_call(self.text, {TABLE: table}, (ids,)).last_hidden_state
        noisy = self.schedule.add_noise(latents, noise, timesteps)
        predicted = self.unet(noisy, timesteps, encoder_hidden_states=context).sample
        return torch.nn.functional.mse_loss(predicted, noise)

    def _ids(self, prompt: str, count: int) -> list[int]:
        word = [49408 + index for index in range(count)]
        ids = [49406]
        for number, part in enumerate(prompt.split("{}")):
            ids += word if number else []
            ids += self.tokenizer(part, add_special_tokens=False)["input_ids"]
        ids.append(49407)
        return ids + [49407] * (77 - len(ids))


def diffusers_unet(state: dict[str, torch.Tensor]) -> torch.nn.Module:
    """diffusers' UNet of the microworld's shape with the weights of an LDM-named ``state``."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(320,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=768,
        attention_head_dim=8,
        norm_num_groups=32,
        act_fn="silu",
        use_linear_projection=False,
    ).eval()
    renamed = {diffusers_name(name): tensor for name, tensor in state.items()}
    unet.load_state_dict(renamed, strict=True)
    return unet


BLOCKS = {
    "input_blocks.0.0": "conv_in",
    "input_blocks.1.0": "down_blocks.0.resnets.0",
    "input_blocks.1.1": "down_blocks.0.attentions.0",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "output_blocks.0.0": "up_blocks.0.resnets.0",
    "output_blocks.0.1": "up_blocks.0.attentions.0",
    "output_blocks.1.0": "up_blocks.0.resnets.1",
    "output_blocks.1.1": "up_blocks.0.attentions.1",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def diffusers_name(name: str) -> str:
    """An LDM parameter name as diffusers calls it."""
    block = next(block for block in BLOCKS if name.startswith(f"{block}."))
    rest = name[len(block) + 1 :]
    for ours, theirs in RESNET.items():
        if "resnets" in BLOCKS[block] and rest.startswith(f"{ours}."):
            rest = theirs + rest[len(ours) :]
    return f"{BLOCKS[block]}.{rest}"
