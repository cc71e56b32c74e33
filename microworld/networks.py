"""The narrow networks: Stable Diffusion 1.5's shapes with only their leading channels alive.

Every parameter bears the name that it has in the full checkpoint. A live channel lies in the same
place in both, so that widening is a copy into zeros. Normalisations are exact under widening:
GroupNorm's groups are alive as a whole or not at all, LayerNorm takes its statistics over the
full width, attention heads are whole, and transformer layers that are absent are identities.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEXT_WIDTH, TEXT_FULL_WIDTH, TEXT_HEADS, TEXT_LAYERS = 128, 768, 2, 4
TEXT_HEAD_SIZE = 64
UNET_WIDTH, UNET_FULL_WIDTH, UNET_HEADS = 80, 320, 2
UNET_HEAD_SIZE, UNET_GROUP_SIZE = 40, 10
UNET_FEED, UNET_TIME = 320, 128
AUTOENCODER_WIDTHS = (16, 32, 32, 64)
AUTOENCODER_BLOCKS = (1, 1, 2)
WINDOW = 77

Beyond = tuple[Tensor, Tensor]


class WideLayerNorm(nn.Module):
    """LayerNorm of a vector of `full` channels, of which only the leading ones are given.

    Those beyond are zero, or their sum and sum of squares are given as `beyond`.
    """

    def __init__(self, width: int, full: int) -> None:
        super().__init__()
        self.full = full
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, beyond: Beyond | None = None) -> Tensor:
        x = x.float()
        total, squares = x.sum(-1, keepdim=True), x.square().sum(-1, keepdim=True)
        if beyond is not None:
            total, squares = total + beyond[0], squares + beyond[1]
        mean = total / self.full
        variance = squares / self.full - mean.square()
        return (x - mean) * torch.rsqrt(variance + 1e-5) * self.weight + self.bias


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """Plain matmul attention of [n, tokens, heads * size]; its backward is fast on a CPU."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    if len(k) < len(q):  # one context serves several rows in turn
        k, v = (t.repeat_interleave(len(q) // len(k), 0) for t in (k, v))
    scores = (q @ k.transpose(-1, -2)) * (q.shape[-1] ** -0.5)
    if mask is not None:
        scores = scores + mask
    return (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)


class TextAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        inner = TEXT_HEADS * TEXT_HEAD_SIZE
        self.q_proj = nn.Linear(TEXT_WIDTH, inner)
        self.k_proj = nn.Linear(TEXT_WIDTH, inner)
        self.v_proj = nn.Linear(TEXT_WIDTH, inner)
        self.out_proj = nn.Linear(inner, TEXT_WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.out_proj(
            attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), TEXT_HEADS, mask)
        )


class TextFeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(TEXT_WIDTH, 4 * TEXT_WIDTH)
        self.fc2 = nn.Linear(4 * TEXT_WIDTH, TEXT_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class TextLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer_norm1 = WideLayerNorm(TEXT_WIDTH, TEXT_FULL_WIDTH)
        self.self_attn = TextAttention()
        self.layer_norm2 = WideLayerNorm(TEXT_WIDTH, TEXT_FULL_WIDTH)
        self.mlp = TextFeedForward()

    def forward(self, x: Tensor, mask: Tensor, beyond: Beyond | None = None) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x, beyond), mask)
        return x + self.mlp(self.layer_norm2(x, beyond))


class TextEncoder(nn.Module):
    """CLIP-L's text transformer (pre-LN, causal), four layers of twelve.

    The token table holds one row for each of `tokens` ids, the only ones that captions use.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(tokens, TEXT_WIDTH)
        self.position_embedding = nn.Embedding(WINDOW, TEXT_WIDTH)
        self.layers = nn.ModuleList(TextLayer() for _ in range(TEXT_LAYERS))
        self.final_layer_norm = WideLayerNorm(TEXT_WIDTH, TEXT_FULL_WIDTH)
        mask = torch.full((WINDOW, WINDOW), -1e9).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Token rows [n, 77] (indices into the table) -> context [n, 77, width]."""
        return self.encode(self.token_embedding(rows))

    def encode(self, embedded: Tensor) -> Tensor:
        x = embedded + self.position_embedding.weight
        for layer in self.layers:
            x = layer(x, self.mask)
        return self.final_layer_norm(x)


class ResBlock(nn.Module):
    def __init__(self, width_in: int) -> None:
        super().__init__()
        groups = UNET_WIDTH // UNET_GROUP_SIZE
        self.in_layers = nn.Sequential(
            nn.GroupNorm(groups, width_in),
            nn.SiLU(),
            nn.Conv2d(width_in, UNET_WIDTH, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(UNET_TIME, UNET_WIDTH))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, UNET_WIDTH),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(UNET_WIDTH, UNET_WIDTH, 3, padding=1),
        )
        self.skip_connection = (
            nn.Identity() if width_in == UNET_WIDTH else nn.Conv2d(width_in, UNET_WIDTH, 1)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.in_layers(x) + self.emb_layers(time)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class CrossAttention(nn.Module):
    def __init__(self, context_width: int) -> None:
        super().__init__()
        inner = UNET_HEADS * UNET_HEAD_SIZE
        self.to_q = nn.Linear(UNET_WIDTH, inner, bias=False)
        self.to_k = nn.Linear(context_width, inner, bias=False)
        self.to_v = nn.Linear(context_width, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, UNET_WIDTH))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        return self.to_out(attend(self.to_q(x), self.to_k(context), self.to_v(context), UNET_HEADS))


class GatedFeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        gate = nn.Module()
        gate.proj = nn.Linear(UNET_WIDTH, 2 * UNET_FEED)
        self.net = nn.Sequential(gate, nn.Identity(), nn.Linear(UNET_FEED, UNET_WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.net[0].proj(x).chunk(2, dim=-1)
        return self.net[2](value * F.gelu(gate))


class TransformerBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = WideLayerNorm(UNET_WIDTH, UNET_FULL_WIDTH)
        self.norm2 = WideLayerNorm(UNET_WIDTH, UNET_FULL_WIDTH)
        self.norm3 = WideLayerNorm(UNET_WIDTH, UNET_FULL_WIDTH)
        self.attn1 = CrossAttention(UNET_WIDTH)
        self.attn2 = CrossAttention(TEXT_WIDTH)
        self.ff = GatedFeedForward()

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        n = self.norm1(x)
        x = x + self.attn1(n, n)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(UNET_WIDTH // UNET_GROUP_SIZE, UNET_WIDTH, eps=1e-6)
        self.proj_in = nn.Conv2d(UNET_WIDTH, UNET_WIDTH, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock()])
        self.proj_out = nn.Conv2d(UNET_WIDTH, UNET_WIDTH, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        h = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            h = block(h, context)
        return x + self.proj_out(h.transpose(1, 2).unflatten(2, (height, width)))


class UNet(nn.Module):
    """SD1.5's UNet with `channel_mult=[1]` and one residual block a level."""

    def __init__(self) -> None:
        super().__init__()
        self.time_embed = nn.Sequential(
            nn.Linear(UNET_FULL_WIDTH, UNET_TIME), nn.SiLU(), nn.Linear(UNET_TIME, UNET_TIME)
        )
        self.input_blocks = nn.ModuleList(
            [
                nn.ModuleList([nn.Conv2d(4, UNET_WIDTH, 3, padding=1)]),
                nn.ModuleList([ResBlock(UNET_WIDTH), SpatialTransformer()]),
            ]
        )
        self.middle_block = nn.ModuleList(
            [ResBlock(UNET_WIDTH), SpatialTransformer(), ResBlock(UNET_WIDTH)]
        )
        self.output_blocks = nn.ModuleList(
            nn.ModuleList([ResBlock(2 * UNET_WIDTH), SpatialTransformer()]) for _ in range(2)
        )
        self.out = nn.Sequential(
            nn.GroupNorm(UNET_WIDTH // UNET_GROUP_SIZE, UNET_WIDTH),
            nn.SiLU(),
            nn.Conv2d(UNET_WIDTH, 4, 3, padding=1),
        )
        half = UNET_FULL_WIDTH // 2
        frequencies = torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(half) / half)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """Noisy latents [n, 4, 8, 8], timesteps [n], context [n or n/k, 77, width] -> noise.

        With n/k contexts each serves k consecutive latents, and its keys are computed once.
        """
        angles = timesteps.float()[:, None] * self.frequencies
        time = self.time_embed(torch.cat([angles.cos(), angles.sin()], dim=-1))
        first = self.input_blocks[0][0](x)
        residual, transformer = self.input_blocks[1]
        second = transformer(residual(first, time), context)
        residual, transformer, last = self.middle_block
        h = last(transformer(residual(second, time), context), time)
        for skip, (residual, transformer) in zip((second, first), self.output_blocks, strict=True):
            h = transformer(residual(torch.cat([h, skip], dim=1), time), context)
        return self.out(h)


def _conv(width_in: int, width_out: int, **options: int | bool) -> nn.Conv2d:
    return nn.Conv2d(width_in, width_out, 3, padding=1, **options)


class AutoencoderBlock(nn.Module):
    """A residual block; `alive=False` keeps its place with zero weights (an identity on x >= 0)."""

    def __init__(self, width: int, alive: bool = True) -> None:
        super().__init__()
        if alive:
            self.conv = nn.Sequential(
                _conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x) if hasattr(self, "conv") else F.relu(x)


class SoftClamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Autoencoder(nn.Module):
    """TAESD's encoder and decoder: pictures [n, 3, 64, 64] in 0..1 <-> latents [n, 4, 8, 8].

    The finer a stage, the fewer of its 64 channels and of its three blocks are alive.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, *stages = AUTOENCODER_WIDTHS
        down: list[nn.Module] = []
        before = fine
        for width, alive in zip(stages, AUTOENCODER_BLOCKS, strict=True):
            down.append(_conv(before, width, stride=2, bias=False))
            down += [AutoencoderBlock(width, i < alive) for i in range(3)]
            before = width
        up: list[nn.Module] = []
        for width, after, alive in zip(
            stages[::-1], [*stages[-2::-1], fine], AUTOENCODER_BLOCKS[::-1], strict=True
        ):
            up += [AutoencoderBlock(width, i < alive) for i in range(3)]
            up += [nn.Upsample(scale_factor=2), _conv(width, after, bias=False)]
        self.taesd_encoder = nn.Sequential(
            _conv(3, fine), AutoencoderBlock(fine, alive=False), *down, _conv(before, 4)
        )
        self.taesd_decoder = nn.Sequential(
            SoftClamp(), _conv(4, before), nn.ReLU(), *up, AutoencoderBlock(fine), _conv(fine, 3)
        )

    def encode(self, pictures: Tensor) -> Tensor:
        return self.taesd_encoder(pictures)

    def decode(self, latents: Tensor) -> Tensor:
        return self.taesd_decoder(latents)
