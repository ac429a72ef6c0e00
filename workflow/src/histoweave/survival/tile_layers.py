"""Layers over all tiles of a bag that keep little of each tile: gradients by hand, tiles in chunks.

A bag has thousands of tiles, so what a layer remembers of each tile is what a step costs in memory and, since large
arrays come fresh from the system each time, in seconds. The layers here do in one pass over a chunk of tiles what
stands as several modules in a model's file, and recompute in the backward pass what is cheap:

* a layer norm in front of attention is folded: its scale goes into the queries, and per tile only the mean and the
  inverse SD are kept (`NormedTiles`);
* what few queries send back to thousands of tiles has the rank of the queries: it is passed on as its factors, and
  formed for one chunk at a time;
* hidden tiles that are only weighted and summed are never kept: scores, weights and sums come out chunk by chunk
  (`pooled_hidden`), and the backward pass makes a chunk again from its linear layer's output.

The results are those of the plain modules up to rounding; tests compare values and gradients. Small bags and autocast
take the plain modules.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.autograd.function import once_differentiable

_CHUNK = 1024  # rows; what a chunk makes stays in the cache of a CPU
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

    z : (patient, tile, hidden); mean, inverse : (patient, tile) mean and inverse SD of each row; all without gradient
    links : one per call of `attended` to come: what carries that call's gradient back to z, see `_Embed`
    scale, shift : (hidden,)
    """

    z: torch.Tensor
    mean: torch.Tensor
    inverse: torch.Tensor
    links: list[torch.Tensor]
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
        level, tiles = queries @ self.shift, (self.z, self.mean, self.inverse)
        pooled, total, scores = _Attend.apply(queries * self.scale, level, self.links.pop(), *tiles, mask, p)
        return pooled * self.scale + total[..., None] * self.shift, scores


def embedded_and_normed(
    embed: nn.Sequential, norm: nn.LayerNorm, tiles: torch.Tensor, *, queries: int, times: int
) -> NormedTiles:
    """Layer norm of Dropout(ReLU(Linear(tiles))), to be attended to `times` times by `queries` queries per patient.

    embed : these three modules
    """
    linear, _, dropout = embed
    p = dropout.p if dropout.training else 0.0
    weight, bias = linear.weight / kept(p), linear.bias / kept(p)  # ReLU passes the factor on: no pass over all tiles
    z, mean, inverse, *links = _Embed.apply(tiles, weight, bias, p, norm.eps, queries, times)
    return NormedTiles(z, mean, inverse, links, norm.weight, norm.bias)


def pooled_hidden(
    embed: nn.Sequential, attention: nn.Module, tiles: torch.Tensor, mask: torch.Tensor, given: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sums of h = Dropout(ReLU(LayerNorm(Linear(tiles)))) over tiles, under gated attention and under given weights.

    embed : these four modules; attention : a `GatedAttention` without dropout; mask : (patient, tile)
    given : (patient, group, tile) weights, 0 outside `mask`; there may be no group
    Returns the sum under the softmax of the scores (patient, hidden), the sums under `given` (patient, group, hidden)
    and the scores (patient, tile).
    """
    linear, norm, _, dropout = embed
    p = dropout.p if dropout.training else 0.0
    # tanh(a) = 2 sigmoid(2 a) - 1, so that one product and one cheap function make both gates
    gates = torch.cat([2 * attention.tanh.weight, attention.gate.weight])  # (2 attention, hidden)
    biases = torch.cat([2 * attention.tanh.bias, attention.gate.bias])
    layer = linear.weight, linear.bias, norm.weight / kept(p), norm.bias / kept(p)
    return _Pool.apply(tiles, mask, given, *layer, gates, biases, attention.score.weight[0], p, norm.eps)


def drop_(values: torch.Tensor, p: float) -> torch.Tensor:
    """Dropout in place. Not scaled."""
    return _dropped(values, draws(values, p), p) if p > 0 else values


def draws(like: torch.Tensor, p: float) -> torch.Tensor | None:
    """Draw 16 random bits per value: about ten times as fast as Bernoulli draws. None where nothing is dropped."""
    if p == 0:
        return None
    words = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
    return words.random_(-(2**63), None).view(torch.int16)[: like.numel()].view(like.shape)


def _dropped(values: torch.Tensor, drawn: torch.Tensor | None, p: float) -> torch.Tensor:
    """Put to 0 in place the values whose draw is among the share `p` of smallest."""
    level = round(p * _WORDS) - _WORDS // 2
    return values if drawn is None else _passed(values, drawn.to(values.dtype), level - 1)


def kept(p: float) -> float:
    """Share of values that `drop_` keeps."""
    return 1.0 - round(p * _WORDS) / _WORDS


def _chunks(*arrays: torch.Tensor | None) -> Iterator[tuple]:
    """Go through the tiles of (patient, tile, ...) `arrays` together: patient, then chunk after chunk of each."""
    patients, tiles = next(array for array in arrays if array is not None).shape[:2]
    for one in range(patients):
        for start in range(0, tiles, _CHUNK):
            part = slice(start, start + _CHUNK)
            yield one, *(None if array is None else array[one, part] for array in arrays)


class _Embed(torch.autograd.Function):
    """z = Dropout(ReLU(x W^T + b)), not scaled; mean and inverse SD of each row of z; and `times` links.

    The gradient of the layer norm e of z from one attention is rows^T factors, with (row, tile) `rows` and
    (row, hidden) `factors`, two rows per query. These two, side by side, are the gradient that comes back through a
    link, a stand-in of their shape that takes no memory. The sum over the attentions is formed chunk by chunk.
    """

    @staticmethod
    def forward(ctx, tiles, weight, bias, p, eps, queries, times):
        z = tiles.new_empty(*tiles.shape[:2], len(weight))
        mean, inverse = tiles.new_empty(2, *tiles.shape[:2], 1)
        for _, x_c, z_c, mean_c, inverse_c in _chunks(tiles, z, mean, inverse):
            torch.addmm(bias, x_c, weight.t(), out=z_c)
            drop_(z_c.relu_(), p)
            _, mean_c[:], inverse_c[:] = torch.native_layer_norm(z_c, [len(weight)], None, None, eps)
        ctx.save_for_backward(tiles, weight, z, mean, inverse)
        ctx.set_materialize_grads(False)
        mean, inverse = mean[..., 0], inverse[..., 0]
        ctx.mark_non_differentiable(z, mean, inverse)
        shape = len(tiles), 2 * queries, sum(z.shape[1:])
        return z, mean, inverse, *(z.new_zeros(()).expand(shape) for _ in range(times))

    @staticmethod
    @once_differentiable
    def backward(ctx, d_z, d_mean, d_inverse, *d_links):
        tiles, weight, z, mean, inverse = ctx.saved_tensors
        d_links = [link for link in d_links if link is not None]
        if not d_links:
            return (None,) * 7
        d_tiles = torch.empty_like(tiles) if ctx.needs_input_grad[0] else None
        rows, factors = torch.cat(d_links, dim=1).split(z.shape[1:], dim=2)
        d_weight, d_bias = torch.zeros_like(weight), weight.new_zeros(len(weight))
        arrays = tiles, z, mean, inverse, rows.transpose(1, 2), d_tiles
        for one, x_c, z_c, mean_c, inverse_c, rows_c, d_x_c in _chunks(*arrays):
            d_z_c, _, _ = torch.ops.aten.native_layer_norm_backward(
                rows_c @ factors[one], z_c, [len(weight)], mean_c, inverse_c, None, None, [True, False, False]
            )
            d_y = _passed(d_z_c, z_c)
            d_weight.addmm_(d_y.t(), x_c)
            d_bias.add_(d_y.sum(dim=0))
            if d_x_c is not None:
                torch.mm(d_y, weight, out=d_x_c)
        return d_tiles, d_weight, d_bias, None, None, None, None


def _passed(gradient: torch.Tensor, values: torch.Tensor, level: float = 0) -> torch.Tensor:
    """Put `gradient` to 0 in place where `values` are not above `level`: faster than a product with a mask."""
    return torch.ops.aten.threshold_backward.grad_input(gradient, values, level, grad_input=gradient)


class _Attend(torch.autograd.Function):
    """Attention over e_t = (z_t - mean_t) inverse_t: s = q e_t + level, w = softmax(s), sum and total of dropout(w).

    link : where the gradient of e goes as its factors, see `_Embed`
    """

    @staticmethod
    def forward(ctx, queries, level, link, z, mean, inverse, mask, p):
        ctx.alone = z.shape[0] == 1  # matrices in place of stacks of one: faster
        queries, level, z, mean, inverse, mask = (
            part[0] if ctx.alone else part for part in (queries, level, z, mean, inverse, mask)
        )
        scores = queries @ z.transpose(-1, -2)
        scores -= queries.sum(dim=-1, keepdim=True) * mean.unsqueeze(-2)
        scores *= inverse.unsqueeze(-2)  # (patient, query, tile) products with e_t
        scores += level.unsqueeze(-1)
        seen = mask.unsqueeze(-2)
        weights = torch.softmax(scores.masked_fill(~seen, _LARGE_NEGATIVE), dim=-1) * seen
        dropped = drop_(weights.clone(), p).mul_(1 / kept(p)) if p > 0 else weights
        each = dropped * inverse.unsqueeze(-2)
        pooled = each @ z - (each @ mean.unsqueeze(-1))
        total = dropped.sum(dim=-1)
        ctx.save_for_backward(queries, z, mean, inverse, weights, dropped, pooled, total)
        return tuple(part[None] if ctx.alone else part for part in (pooled, total, scores))

    @staticmethod
    @once_differentiable
    def backward(ctx, d_pooled, d_total, d_scores):
        queries, z, mean, inverse, weights, dropped, pooled, total = ctx.saved_tensors
        d_pooled, d_total, d_scores = (part[0] if ctx.alone else part for part in (d_pooled, d_total, d_scores))
        mean, inverse = mean.unsqueeze(-2), inverse.unsqueeze(-2)
        d_s = d_pooled @ z.transpose(-1, -2)
        d_s -= d_pooled.sum(dim=-1, keepdim=True) * mean
        d_s *= inverse  # d_pooled e_t
        d_s += d_total.unsqueeze(-1)
        d_s *= dropped  # w d w
        d_s -= weights * ((d_pooled * pooled).sum(dim=-1) + d_total * total).unsqueeze(-1)
        d_s += d_scores
        each = d_s * inverse
        d_queries = each @ z - each @ mean.transpose(-1, -2)
        rows, factors = torch.cat([d_s, dropped], dim=-2), torch.cat([queries, d_pooled], dim=-2)
        made = d_queries, d_s.sum(dim=-1), torch.cat([rows, factors], dim=-1)
        return *(part[None] if ctx.alone else part for part in made), None, None, None, None, None


def _hidden(
    y: torch.Tensor, drawn: torch.Tensor | None, scale: torch.Tensor, shift: torch.Tensor, p: float, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """h = Dropout(ReLU(LN(y))) by what was `drawn`, not scaled, and mean and inverse SD of each row of y."""
    h, mean, inverse = torch.native_layer_norm(y, scale.shape, scale, shift, eps)
    return _dropped(h.relu_(), drawn, p), mean, inverse


class _Pool(torch.autograd.Function):
    """Sums of h under softmax(w) and under `given`, and w.

    y = x W^T + b, h = Dropout(ReLU(LN(y))), not scaled; (s1, s2) = sigmoid(gates h + gate_bias);
    w = c^T ((2 s1 - 1) * s2)
    """

    @staticmethod
    def forward(ctx, tiles, mask, given, weight, bias, scale, shift, gates, gate_bias, score, p, eps):
        width, count = len(score), tiles.shape[:2]
        y, s, w = (tiles.new_empty(*count, *last) for last in ((len(weight),), (2 * width,), ()))
        drawn = torch.empty_like(y, dtype=torch.int16) if p > 0 else None
        second = y.new_zeros(len(tiles), given.shape[1], len(weight))
        parts, peaks = [], []  # of each chunk: sum of h under exp(w - peak)
        arrays = tiles, y, drawn, s, w, mask, given.transpose(1, 2)
        for one, x_c, y_c, drawn_c, s_c, w_c, mask_c, given_c in _chunks(*arrays):
            torch.addmm(bias, x_c, weight.t(), out=y_c)
            if drawn_c is not None:
                drawn_c.copy_(draws(y_c, p))
            h, _, _ = _hidden(y_c, drawn_c, scale, shift, p, eps)
            torch.addmm(gate_bias, h, gates.t(), out=s_c).sigmoid_()
            s1, s2 = s_c.split(width, dim=1)
            torch.mv(torch.addcmul(s2, s1, s2, value=-2), score, out=w_c).neg_()
            w_m = w_c.masked_fill(~mask_c, _LARGE_NEGATIVE)
            peaks.append(w_m.max())
            parts.append(torch.exp(w_m - peaks[-1]).mul_(mask_c) @ h)
            second[one].addmm_(given_c.t(), h)
        e1 = torch.softmax(w.masked_fill(~mask, _LARGE_NEGATIVE), dim=1) * mask
        peaks = torch.stack(peaks).view(len(tiles), -1)  # (patient, chunk)
        peak = peaks.amax(dim=1, keepdim=True)
        total = torch.exp(w.masked_fill(~mask, _LARGE_NEGATIVE) - peak).mul_(mask).sum(dim=1, keepdim=True)
        shares = torch.exp(peaks - peak) / total.clamp_min(torch.finfo(w.dtype).tiny)
        first = (shares[:, None] @ torch.stack(parts).view(len(tiles), -1, len(weight)))[:, 0]
        ctx.save_for_backward(tiles, given, weight, scale, shift, gates, score, y, drawn, s, e1, first)
        ctx.set_materialize_grads(False)
        ctx.dropout_and_norm = p, eps
        return first, second, w

    @staticmethod
    @once_differentiable
    def backward(ctx, d_first, d_second, d_w):
        tiles, given, weight, scale, shift, gates, score, y, drawn, s, e1, first = ctx.saved_tensors
        width = len(score)
        d_first = torch.zeros_like(first) if d_first is None else d_first
        d_second = first.new_zeros(len(given), given.shape[1], len(weight)) if d_second is None else d_second
        d_w = torch.zeros_like(e1) if d_w is None else d_w
        d_tiles = torch.empty_like(tiles) if ctx.needs_input_grad[0] else None
        d_given = torch.empty_like(given) if ctx.needs_input_grad[2] else None
        sums = torch.cat([d_first[:, None], d_second], dim=1)  # (patient, 1 + group, hidden)
        weights = torch.cat([e1[:, None], given], dim=1).transpose(1, 2)  # (patient, tile, 1 + group)
        d_weight, d_gates = torch.zeros_like(weight), torch.zeros_like(gates)
        d_bias, d_scale, d_shift = (torch.zeros_like(scale) for _ in range(3))
        d_gate_bias, d_score = gates.new_zeros(2 * width), torch.zeros_like(score)
        slopes = torch.cat([2 * score, score])  # of w by s, without the other factor and d_w
        sloped = slopes[:, None] * gates
        turned = None if d_given is None else d_given.transpose(1, 2)
        arrays = tiles, y, drawn, s, weights, d_w, d_tiles, turned
        for one, x_c, y_c, drawn_c, s_c, weights_c, d_w_c, d_x_c, d_given_c in _chunks(*arrays):
            h, mean, inverse = _hidden(y_c, drawn_c, scale, shift, *ctx.dropout_and_norm)
            d_weights = h @ sums[one].t()  # (tile, 1 + group)
            if d_given_c is not None:
                d_given_c.copy_(d_weights[:, 1:])
            d_w_c = torch.addcmul(d_w_c, weights_c[:, 0], d_weights[:, 0] - d_first[one] @ first[one])
            s1, s2 = s_c.split(width, dim=1)
            d_s = torch.empty_like(s_c)
            torch.mul(s2, d_w_c[:, None], out=d_s[:, :width])
            torch.mul(s1, 2 * d_w_c[:, None], out=d_s[:, width:]).sub_(d_w_c[:, None])
            d_score.add_((d_s[:, width:] * s2).sum(dim=0))
            torch.ops.aten.sigmoid_backward.grad_input(d_s, s_c, grad_input=d_s)
            d_gates.addmm_(d_s.t(), h)
            d_gate_bias.add_(d_s.sum(dim=0))
            d_h = (weights_c @ sums[one]).addmm_(d_s, sloped)
            d_y, d_scale_c, d_shift_c = torch.ops.aten.native_layer_norm_backward(
                _passed(d_h, h), y_c, scale.shape, mean, inverse, scale, shift, [True, True, True]
            )
            d_scale.add_(d_scale_c)
            d_shift.add_(d_shift_c)
            d_weight.addmm_(d_y.t(), x_c)
            d_bias.add_(d_y.sum(dim=0))
            if d_x_c is not None:
                torch.mm(d_y, weight, out=d_x_c)
        layer = d_weight, d_bias, d_scale, d_shift
        d_gates.mul_(slopes[:, None])
        return d_tiles, None, d_given, *layer, d_gates, d_gate_bias.mul_(slopes), d_score, None, None
