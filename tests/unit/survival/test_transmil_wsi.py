"""Parts of TransMIL against what they stand for."""

import pytest
import torch
from unit.survival.test_ghanet import batch_of

from histoweave.survival import transmil_wsi
from histoweave.survival.transmil_wsi import NystromAttention, Transmil, pseudo_inverse


def exact(module, tokens):
    q, k, v = module.project(tokens).unflatten(1, (3, module.heads, -1)).permute(1, 2, 0, 3)
    return torch.softmax(q @ k.transpose(1, 2) / q.shape[2] ** 0.5, dim=2), v


def test_attention_is_exact_while_there_are_as_many_landmarks_as_tokens():
    torch.manual_seed(0)
    module, tokens = NystromAttention(8, 2, 9, dropout=0.0), torch.randn(9, 8)
    left, right, _ = module.factors(tokens)
    torch.testing.assert_close(left @ right, exact(module, tokens)[0])


def test_landmarks_of_equal_tokens_lose_nothing(monkeypatch):
    monkeypatch.setattr(transmil_wsi, "_ITERATIONS", 40)  # until the inverse has settled
    torch.manual_seed(0)
    module = NystromAttention(8, 2, 4, dropout=0.0)
    tokens = torch.randn(4, 8).repeat_interleave(5, dim=0)  # each landmark is the mean of five equal tokens
    left, right, v = module.factors(tokens)
    weights, _ = exact(module, tokens)
    torch.testing.assert_close(left @ right @ v, weights @ v, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("iterations", "error"), [(6, 0.1), (12, 1e-4)])
def test_pseudo_inverse(monkeypatch, iterations, error):
    monkeypatch.setattr(transmil_wsi, "_ITERATIONS", iterations)
    torch.manual_seed(0)
    matrix = torch.softmax(3 * torch.randn(2, 5, 5) + 4 * torch.eye(5), dim=2)
    product = pseudo_inverse(matrix) @ matrix
    torch.testing.assert_close(product, torch.eye(5).expand(2, -1, -1), atol=error, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 10, 50])
def test_bags_of_any_size(count):
    torch.manual_seed(0)
    network = Transmil(6, hidden=8, heads=2, landmarks=4, dropout=0.0).eval()
    batch = batch_of([count, 3])
    with torch.no_grad():
        assert torch.isfinite(network(batch)["risk"]).all()
        weights = network.attention(batch)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    assert (weights[~batch.mask] == 0).all()


def test_no_dead_parameters():
    network = Transmil(6, hidden=8, heads=2, landmarks=4, dropout=0.0)
    network(batch_of([20, 7]))["risk"].sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
