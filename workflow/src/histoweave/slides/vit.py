"""Vision transformers of pathology encoders in plain torch, with timm's names of weights.

Source: Dosovitskiy 2021 (arXiv:2010.11929); layer scale, Touvron 2021 (arXiv:2103.17239); register tokens, Darcet
2024 (arXiv:2309.16588); gated hidden layers, Shazeer 2020 (arXiv:2002.05202).

| symbol | name here | axes | meaning |
|---|---|---|---|
| x_p E | `patch_embed` | (tile, patch, dim) | pixels of a patch, projected |
| x_class | `cls_token` | (1, 1, dim) | stands first |
| registers | `reg_token` | (1, register, dim) | stand between class token and patches |
| E_pos | `pos_embed` | (1, place, dim) | of the patches, and of class token and registers if `embed_prefix` |
| z_l | `x` | (tile, token, dim) | after block l |

Deviations: forward pass only, without dropout and heads; a position table made for another size of tile is
resampled (bicubic, with antialiasing) when the weights are loaded, not at every pass.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the common name

_EPSILON = 1e-6


@dataclass(frozen=True)
class VitShape:
    """Size of a vision transformer.

    patch, tile : px; hidden : width of the hidden layer over `dim`, before gating; gated : SwiGLU instead of GELU
    registers : register tokens; embed_prefix : class token and registers have places in `pos_embed`
    scaled : has layer scale
    pooling : cls (class token) | cls_mean (class token, then mean of the patches)
    """

    patch: int
    tile: int
    dim: int
    depth: int
    heads: int
    hidden: float
    gated: bool
    registers: int
    embed_prefix: bool
    scaled: bool
    pooling: str

    @property
    def embedded(self) -> int:
        """Places of the position table before the patches'."""
        return 1 + self.registers if self.embed_prefix else 0

    @property
    def features(self) -> int:
        """Length of a feature vector."""
        return self.dim * (2 if self.pooling == "cls_mean" else 1)


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        tiles, tokens, dim = x.shape
        q, k, v = self.qkv(x).reshape(tiles, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v)  # (tile, head, token, dim / head)
        return self.proj(out.transpose(1, 2).reshape(tiles, tokens, dim))


class _Hidden(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        width = int(shape.dim * shape.hidden)
        self.gated = shape.gated
        self.fc1 = nn.Linear(shape.dim, width)
        self.fc2 = nn.Linear(width // 2 if shape.gated else width, shape.dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        if self.gated:
            gate, value = x.chunk(2, dim=-1)
            return self.fc2(F.silu(gate) * value)
        return self.fc2(F.gelu(x))


class _Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.dim, eps=_EPSILON)
        self.attn = _Attention(shape.dim, shape.heads)
        self.ls1 = _Scale(shape.dim) if shape.scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(shape.dim, eps=_EPSILON)
        self.mlp = _Hidden(shape)
        self.ls2 = _Scale(shape.dim) if shape.scaled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Patches(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, shape.dim, shape.patch, stride=shape.patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    """Features (tile, feature) of tiles (tile, rgb, row, column), normalised."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.shape = shape
        places = (shape.tile // shape.patch) ** 2 + shape.embedded
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.dim))
        if shape.registers:
            self.reg_token = nn.Parameter(torch.zeros(1, shape.registers, shape.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, places, shape.dim))
        self.patch_embed = _Patches(shape)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Features (tile, feature) of `x` (tile, rgb, row, column)."""
        x = self.patch_embed(x)  # (tile, patch, dim)
        prefix = [self.cls_token] + ([self.reg_token] if self.shape.registers else [])
        before = [token.expand(len(x), -1, -1) for token in prefix]
        if self.shape.embed_prefix:
            x = torch.cat([*before, x], dim=1) + self.pos_embed
        else:
            x = torch.cat([*before, x + self.pos_embed], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        first = x[:, 0]
        if self.shape.pooling == "cls_mean":
            return torch.cat([first, x[:, 1 + self.shape.registers :].mean(dim=1)], dim=1)
        return first


def resample_positions(table: Tensor, *, places: int, embedded: int) -> Tensor:
    """Position table (1, place, dim) with `places` places, of which the first `embedded` are not of patches."""
    if table.shape[1] == places:
        return table
    first, grid = table[:, :embedded], table[:, embedded:]
    old, new = round(grid.shape[1] ** 0.5), round((places - embedded) ** 0.5)
    square = grid.reshape(1, old, old, -1).permute(0, 3, 1, 2).float()
    resized = F.interpolate(square, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, resized.permute(0, 2, 3, 1).reshape(1, new * new, -1).to(table.dtype)], dim=1)
