"""SDXL's form of the loop that diffusers documents, written from its description.

Both text encoders read every prompt and both token tables are trained; the second last hidden
states go side by side to the network, with the second encoder's pooled output and the time ids
(original size, crop, target size).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .diffusers_loop import DiffusersLoop


class DiffusersSdxlLoop(DiffusersLoop):
    """`texts` are CLIP-L and OpenCLIP bigG, the latter with its projection."""

    def condition(self, prompts: Sequence[str], pictures: Tensor) -> dict[str, Any]:
        ids = self.ids(prompts)
        outputs = [text(ids, output_hidden_states=True) for text in self.texts]
        height, width = pictures.shape[-2:]
        sizes = torch.tensor([[height, width, 0, 0, height, width]] * len(prompts))
        return {
            "encoder_hidden_states": torch.cat([out.hidden_states[-2] for out in outputs], dim=-1),
            "added_cond_kwargs": {"text_embeds": outputs[-1].text_embeds, "time_ids": sizes},
        }
