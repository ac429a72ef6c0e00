"""Layers over all tiles of a bag that keep one copy of what they make: gradients by hand, tiles in chunks.

A bag has thousands of tiles, so what a layer remembers of each tile is what a step costs in memory and, since large
arrays come fresh from the system each time, in seconds. The layers here do in one pass over a chunk of tiles what
stands as several modules in a model's file, and recompute in the backward pass what is cheap:

* ReLU and dropout need no mask: a unit passes a gradient just where its output is above 0;
* a layer norm in front of attention is folded: its scale goes into the queries, and per tile only the mean and the
  inverse SD are kept (`NormedTiles`);
* the scores of gated attention come out with the embedding, while a chunk is still in the cache.

The results are those of the plain modules up to rounding; tests compare values and gradients. Small bags and autocast
take the plain modules.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.autograd.function import once_differentiable

_CHUNK = 2048  # rows; what a chunk makes stays in the cache of a CPU
_LEAST_TILES = 256
_WORDS = 2**16
_LARGE_NEGATIVE = -1e9


def fused(tiles: torch.Tensor) -> bool:
    """Whether the layers here are used for (patient, tile, feature): not for small bags, where they only cost calls.

    Nor under autocast, which picks the precision of each operation.
    """
    return tiles.shape[1] >= _LEAST_TILES and not torch.is_autocast_enabled(tiles.device.type)


@dataclass(frozen=True)
class NormedTiles:
    """A layer norm of `z` that is never formed: norm(z)_t = scale * (z_t - mean_t) * inverse_t + shift.

    z : (patient, tile, hidden); mean, inverse : (patient, tile) mean and inverse SD of each row
    scale, shift : (hidden,)
    """

    z: torch.Tensor
    mean: torch.Tensor
    inverse: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor

    @property
    def shape(self) -> torch.Size:
        """(patient, tile, hidden)."""
        return self.z.shape

    def attended(
        self, queries: torch.Tensor, mask: torch.Tensor, dropout: nn.Dropout
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Softmax attention of (patient, query, hidden) over the normed tiles where `mask` (patient, tile) holds.

        Returns the weighted sums (patient, query, hidden) and the logits (patient, query, tile).
        """
        p = dropout.p if dropout.training else 0.0
        level = queries @ self.shift
        pooled, total, scores = _Attend.apply(queries * self.scale, level, self.z, self.mean, self.inverse, mask, p)
        return pooled * self.scale + total[..., None] * self.shift, scores


def embedded_and_normed(embed: nn.Sequential, norm: nn.LayerNorm, tiles: torch.Tensor) -> NormedTiles:
    """Layer norm of Dropout(ReLU(Linear(tiles))); embed : these three modules."""
    linear, _, dropout = embed
    p = dropout.p if dropout.training else 0.0
    z, mean, inverse = _Embed.apply(tiles, linear.weight, linear.bias, p, norm.eps)
    return NormedTiles(z, mean, inverse, norm.weight, norm.bias)


def hidden_and_scores(
    embed: nn.Sequential, attention: nn.Module, tiles: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """h = Dropout(ReLU(LayerNorm(Linear(tiles)))) (patient, tile, hidden) and its gated attention (patient, tile).

    embed : these four modules; attention : a `GatedAttention` without dropout
    """
    linear, norm, _, dropout = embed
    p = dropout.p if dropout.training else 0.0
    gates = torch.cat([attention.tanh.weight, attention.gate.weight])  # (2 attention, hidden): one product for both
    biases = torch.cat([attention.tanh.bias, attention.gate.bias])
    made = _Hidden.apply(
        tiles, linear.weight, linear.bias, norm.weight, norm.bias, gates, biases, attention.score.weight[0], p, norm.eps
    )
    return made[0], made[1]


def drop_(values: torch.Tensor, p: float) -> torch.Tensor:
    """Dropout in place, of 16 random bits per value: about ten times as fast as Bernoulli draws. Not scaled."""
    if p > 0:
        draws = torch.empty((values.numel() + 3) // 4, dtype=torch.int64, device=values.device)
        draws = draws.random_(-(2**63), None).view(torch.int16)[: values.numel()]
        values.mul_(draws.view(values.shape) >= round(p * _WORDS) - _WORDS // 2)
    return values


def kept(p: float) -> float:
    """Share of values that `drop_` keeps."""
    return 1.0 - round(p * _WORDS) / _WORDS


def _chunks(*arrays: torch.Tensor | None) -> Iterator[tuple]:
    """Go through the rows of `arrays` together."""
    rows = next(array for array in arrays if array is not None).shape[0]
    for start in range(0, rows, _CHUNK):
        yield tuple(None if array is None else array[start : start + _CHUNK] for array in arrays)


class _Embed(torch.autograd.Function):
    """z = Dropout(ReLU(x W^T + b)), and mean and inverse SD of each row of z, which carry no gradient."""

    @staticmethod
    def forward(ctx, tiles, weight, bias, p, eps):
        x = tiles.reshape(-1, tiles.shape[-1])
        z = x.new_empty(x.shape[0], weight.shape[0])
        stats = x.new_empty(2, x.shape[0])
        for x_c, z_c, mean_c, inverse_c in _chunks(x, z, *stats):
            torch.addmm(bias, x_c, weight.t(), out=z_c)
            drop_(z_c.relu_(), p).mul_(1 / kept(p))
            _, mean, inverse = torch.native_layer_norm(z_c, [z_c.shape[1]], None, None, eps)
            mean_c.copy_(mean[:, 0])
            inverse_c.copy_(inverse[:, 0])
        z, mean, inverse = (part.view(*tiles.shape[:-1], *part.shape[1:]) for part in (z, *stats))
        ctx.save_for_backward(x, weight, z)
        ctx.mark_non_differentiable(mean, inverse)
        ctx.scale, ctx.shape = 1 / kept(p), tiles.shape
        return z, mean, inverse

    @staticmethod
    @once_differentiable
    def backward(ctx, d_z, *_):
        x, weight, z = ctx.saved_tensors
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        d_weight, d_bias = torch.zeros_like(weight), weight.new_zeros(weight.shape[0])
        for x_c, z_c, d_c, d_x_c in _chunks(x, z.view(len(x), -1), d_z.reshape(len(x), -1), d_x):
            d_y = torch.ops.aten.threshold_backward(d_c, z_c, 0)  # what ReLU or dropout put to 0 passes nothing
            d_weight.addmm_(d_y.t(), x_c)
            d_bias.add_(d_y.sum(dim=0))
            if d_x_c is not None:
                torch.mm(d_y, weight, out=d_x_c).mul_(ctx.scale)
        d_x = None if d_x is None else d_x.view(ctx.shape)
        return d_x, d_weight.mul_(ctx.scale), d_bias.mul_(ctx.scale), None, None


class _Attend(torch.autograd.Function):
    """Attention over e_t = (z_t - mean_t) inverse_t: s = q e_t + level, w = softmax(s), sum and total of dropout(w).

    The gradient of z goes through the mean and the inverse SD as well.
    """

    @staticmethod
    def forward(ctx, queries, level, z, mean, inverse, mask, p):
        ctx.alone = z.shape[0] == 1  # matrices in place of stacks of one: faster
        queries, level, z, mean, inverse, mask = (
            part[0] if ctx.alone else part for part in (queries, level, z, mean, inverse, mask)
        )
        plain = queries @ z.transpose(-1, -2)
        plain -= queries.sum(dim=-1, keepdim=True) * mean.unsqueeze(-2)
        plain *= inverse.unsqueeze(-2)  # (patient, query, tile) products with e_t
        scores = plain + level.unsqueeze(-1)
        seen = mask.unsqueeze(-2)
        weights = torch.softmax(scores.masked_fill(~seen, _LARGE_NEGATIVE), dim=-1) * seen
        dropped = drop_(weights.clone(), p).mul_(1 / kept(p)) if p > 0 else weights
        each = dropped * inverse.unsqueeze(-2)
        pooled = each @ z - (each @ mean.unsqueeze(-1))
        total = dropped.sum(dim=-1)
        ctx.save_for_backward(queries, z, mean, inverse, plain, weights, dropped, pooled, total)
        ctx.scale = 1 / kept(p)
        return tuple(part[None] if ctx.alone else part for part in (pooled, total, scores))

    @staticmethod
    @once_differentiable
    def backward(ctx, d_pooled, d_total, d_scores):
        queries, z, mean, inverse, plain, weights, dropped, pooled, total = ctx.saved_tensors
        d_pooled, d_total, d_scores = (part[0] if ctx.alone else part for part in (d_pooled, d_total, d_scores))
        mean, inverse = mean.unsqueeze(-2), inverse.unsqueeze(-2)
        against = d_pooled @ z.transpose(-1, -2)
        against -= d_pooled.sum(dim=-1, keepdim=True) * mean
        against *= inverse  # d_pooled e_t
        d_s = dropped * (against + d_total.unsqueeze(-1))  # w d w
        d_s -= weights * ((d_pooled * pooled).sum(dim=-1) + d_total * total).unsqueeze(-1)
        d_s += d_scores
        each = d_s * inverse
        d_queries = each @ z - each @ mean.transpose(-1, -2)
        # gradient of e_t, then that of the layer norm: (d_e - mean(d_e) - e_t mean(d_e e_t)) inverse_t
        width = z.shape[-1]
        rows, factors = torch.cat([d_s, dropped], dim=-2), torch.cat([queries, d_pooled], dim=-2)
        along = ((d_s * plain).sum(dim=-2) + (dropped * against).sum(dim=-2)) / width * inverse.squeeze(-2)
        slope = along * inverse.squeeze(-2)
        level = slope * mean.squeeze(-2) - (rows.transpose(-1, -2) @ factors.mean(dim=-1, keepdim=True)).squeeze(
            -1
        ) * inverse.squeeze(-2)
        d_z = (rows * inverse).transpose(-1, -2) @ factors
        d_z.addcmul_(z, slope.unsqueeze(-1), value=-1).add_(level.unsqueeze(-1))
        made = d_queries, d_s.sum(dim=-1), d_z
        return *(part[None] if ctx.alone else part for part in made), None, None, None, None


class _Hidden(torch.autograd.Function):
    """h = Dropout(ReLU(LN(x W^T + b))), w = c^T (tanh(U h) * sigmoid(V h)); gates : U and V, one under the other."""

    @staticmethod
    def forward(ctx, tiles, weight, bias, scale, shift, gates, gate_bias, score, p, eps):
        x = tiles.reshape(-1, tiles.shape[-1])
        width = len(score)
        y, h = x.new_empty(x.shape[0], weight.shape[0]), x.new_empty(x.shape[0], weight.shape[0])
        both, w = x.new_empty(x.shape[0], 2 * width), x.new_empty(x.shape[0])
        stats = x.new_empty(x.shape[0], 2)
        for x_c, y_c, h_c, both_c, w_c, stats_c in _chunks(x, y, h, both, w, stats):
            torch.addmm(bias, x_c, weight.t(), out=y_c)
            normed, mean, inverse = torch.native_layer_norm(y_c, [y_c.shape[1]], scale, shift, eps)
            stats_c[:, :1], stats_c[:, 1:] = mean, inverse
            torch.mul(drop_(normed.relu_(), p), 1 / kept(p), out=h_c)
            torch.addmm(gate_bias, h_c, gates.t(), out=both_c)
            both_c[:, :width].tanh_()
            both_c[:, width:].sigmoid_()
            torch.mv(both_c[:, :width] * both_c[:, width:], score, out=w_c)
        ctx.save_for_backward(x, weight, scale, shift, gates, score, y, stats, h, both)
        ctx.scale, ctx.shape = 1 / kept(p), tiles.shape
        return h.view(*tiles.shape[:-1], -1), w.view(tiles.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx, d_h, d_w):
        x, weight, scale, shift, gates, score, y, stats, h, both = ctx.saved_tensors
        width = len(score)
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        d_weight, d_gates = torch.zeros_like(weight), torch.zeros_like(gates)
        d_bias, d_scale, d_shift = (torch.zeros_like(scale) for _ in range(3))
        d_gate_bias, d_score = gates.new_zeros(2 * width), torch.zeros_like(score)
        rows = (x, y, stats, h, both, d_h.reshape(h.shape), d_w.reshape(-1), d_x)
        for x_c, y_c, stats_c, h_c, both_c, d_h_c, d_w_c, d_x_c in _chunks(*rows):
            u, v = both_c[:, :width], both_c[:, width:]
            d_score.add_(torch.mv((u * v).t(), d_w_c))
            d_both = torch.empty_like(both_c)
            d_uv = d_w_c[:, None] * score  # (row, width)
            torch.mul(d_uv * v, torch.addcmul(u.new_ones(()), u, u, value=-1), out=d_both[:, :width])
            torch.mul(d_uv * u, torch.addcmul(v, v, v, value=-1), out=d_both[:, width:])
            d_gates.addmm_(d_both.t(), h_c)
            d_gate_bias.add_(d_both.sum(dim=0))
            d_n = torch.addmm(d_h_c, d_both, gates)
            d_n = torch.ops.aten.threshold_backward(d_n, h_c, 0)  # what ReLU or dropout put to 0 passes nothing
            d_y, d_scale_c, d_shift_c = torch.ops.aten.native_layer_norm_backward(
                d_n, y_c, [y_c.shape[1]], stats_c[:, :1].contiguous(), stats_c[:, 1:].contiguous(), scale, shift,
                [True, True, True],
            )  # fmt: skip
            d_scale.add_(d_scale_c)
            d_shift.add_(d_shift_c)
            d_weight.addmm_(d_y.t(), x_c)
            d_bias.add_(d_y.sum(dim=0))
            if d_x_c is not None:
                torch.mm(d_y, weight, out=d_x_c).mul_(ctx.scale)
        d_x = None if d_x is None else d_x.view(ctx.shape)
        scaled = (part.mul_(ctx.scale) for part in (d_weight, d_bias, d_scale, d_shift))
        return d_x, *scaled, d_gates, d_gate_bias, d_score, None, None
