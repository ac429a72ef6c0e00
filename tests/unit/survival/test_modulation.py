import math

import numpy as np
import pytest
import torch

from histoweave.survival import modulation
from histoweave.survival.losses import cox_loss

SETTINGS = {
    "strength": 1.0,
    "smoothing": 0.0,
    "first_epoch": 1,
    "last_epoch": 0,
    "unimodal_weight": 1.0,
    "pareto_norm": 1.5,
    "relearn_every": 5,
    "relearn_strength": 1.0,
}
OGM = ("ogm_cox_sum", "ogm_cox_geo")


def settings(rule="ogm_cox_geo", **changes):
    return modulation.BalanceSettings(rule=rule, **(SETTINGS | changes))


@pytest.fixture
def batch():
    rng = torch.Generator().manual_seed(0)
    gene, slide = torch.randn(2, 32, generator=rng)
    time = torch.rand(32, generator=rng) * 1000
    event = (torch.rand(32, generator=rng) < 0.4).float()
    return gene, slide, time, event


# --- eqs. 5 and 6, corrected


@pytest.mark.parametrize("rule", OGM)
def test_equal_branches_have_ratio_one_and_both_take_full_steps(batch, rule):
    gene, _, time, event = batch
    assert modulation.log_gene_to_slide(gene, gene, time, event, rule=rule) == pytest.approx(0, abs=1e-6)
    assert modulation.Modulator(settings(rule)).update(gene, gene, time, event) == pytest.approx((1, 1), abs=1e-6)


@pytest.mark.parametrize("rule", OGM)
def test_swapping_the_branches_inverts_the_ratio(batch, rule):
    gene, slide, time, event = batch
    there = modulation.log_gene_to_slide(gene, slide, time, event, rule=rule)
    back = modulation.log_gene_to_slide(slide, gene, time, event, rule=rule)
    assert there == pytest.approx(-back, abs=1e-6)
    assert there != pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("rule", OGM)
@pytest.mark.parametrize("constant", [-30.0, 7.5])
def test_a_constant_added_to_all_logits_changes_nothing(batch, rule, constant):
    gene, slide, time, event = batch
    plain = modulation.log_gene_to_slide(gene, slide, time, event, rule=rule)
    moved = modulation.log_gene_to_slide(gene + constant, slide, time, event, rule=rule)
    assert moved == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize("rule", OGM)
def test_a_batch_without_events_changes_nothing(batch, rule):
    gene, slide, time, event = batch
    modulator = modulation.Modulator(settings(rule))
    assert modulator.update(gene, slide, time, torch.zeros(32)) == (1.0, 1.0)
    before = modulator.update(gene, slide, time, event)
    assert before != (1.0, 1.0)
    assert modulator.update(slide, gene, time, torch.zeros(32)) == before


def test_one_usable_event_is_too_few():
    logit, time = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 3.0])
    event = torch.tensor([1.0, 0.0, 1.0])  # the last one is alone at risk
    assert len(modulation.event_shares(logit, time, event)) == 1
    assert modulation.log_gene_to_slide(logit, -logit, time, event, rule="ogm_cox_geo") is None


def test_shares_are_the_softmax_over_the_risk_set_with_ties():
    logit = torch.tensor([0.3, -1.0, 0.5, 2.0])
    time = torch.tensor([5.0, 2.0, 5.0, 9.0])
    event = torch.tensor([1.0, 1.0, 0.0, 0.0])
    found = modulation.event_shares(logit, time, event).exp()
    weight = logit.exp()
    assert found.tolist() == pytest.approx(
        [float(weight[0] / weight[[0, 2, 3]].sum()), float(weight[1] / weight.sum())]
    )


def test_geo_is_the_difference_of_the_two_cox_losses(batch):
    gene, slide, time, event = batch
    event[time.argmax()] = 0  # the last patient is alone at risk, which the ratio leaves out
    found = modulation.log_gene_to_slide(gene, slide, time, event, rule="ogm_cox_geo")
    losses = [cox_loss(logit, time, event, ties="breslow") for logit in (gene, slide)]
    assert found == pytest.approx(float(losses[1] - losses[0]), abs=1e-5)


def test_sum_is_the_ratio_of_summed_shares(batch):
    gene, slide, time, event = batch
    found = modulation.log_gene_to_slide(gene, slide, time, event, rule="ogm_cox_sum")
    sums = [float(modulation.event_shares(logit, time, event).exp().sum()) for logit in (gene, slide)]
    assert math.exp(found) == pytest.approx(sums[0] / sums[1], rel=1e-5)


# --- eqs. 7 and 8


def test_only_the_branch_ahead_is_slowed():
    for log_rho in np.linspace(-3, 3, 13):
        gene, slide = (modulation.coefficient(sign * log_rho, strength=1.0) for sign in (1, -1))
        assert 0 <= min(gene, slide) <= 1
        assert max(gene, slide) == 1
        if log_rho:
            assert (gene < 1) == (log_rho > 0)


def test_the_coefficient_is_the_published_function():
    assert modulation.coefficient(math.log(1.8), strength=1.0) == pytest.approx(1 - math.tanh(0.8))
    assert modulation.coefficient(math.log(0.4), strength=1.0) == 1


def test_smoothing_is_a_running_mean_of_the_logarithm(batch):
    gene, slide, time, event = batch
    modulator = modulation.Modulator(settings(smoothing=0.9))
    modulator.update(gene, slide, time, event)
    first = modulator.log_rho
    modulator.update(slide, gene, time, event)
    assert modulator.log_rho == pytest.approx(0.9 * first - 0.1 * first)


def test_adam_takes_a_scaled_gradient_out_again_but_not_a_scaled_step():
    def run(*, gradient=1.0, step=1.0):
        weight = torch.ones(3, requires_grad=True)
        optimizer = torch.optim.Adam([weight], lr=0.01 * step)
        for _ in range(50):
            optimizer.zero_grad()
            (gradient * (weight**2 * torch.tensor([1.0, 2.0, 3.0])).sum()).backward()
            optimizer.step()
        return weight.detach()

    assert torch.allclose(run(gradient=0.1), run(), atol=1e-5)
    assert not torch.allclose(run(step=0.1), run(), atol=0.1)


# --- MMPareto


def test_gradients_that_agree_are_added():
    joint, own = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
    assert torch.allclose(modulation.pareto_gradient(joint, own, norm=1.5), 1.5 * (joint + own))


def test_gradients_in_conflict_meet_where_both_losses_fall():
    joint, own = torch.tensor([1.0, 0.0]), torch.tensor([-0.5, 1.0])
    mixed = modulation.pareto_gradient(joint, own, norm=1.0)
    assert torch.dot(mixed, joint) > 0
    assert torch.dot(mixed, own) > 0
    assert mixed.norm() >= (joint + own).norm() - 1e-6


def test_the_weight_minimises_the_norm_of_the_mixture():
    joint, own = torch.tensor([2.0, 0.3]), torch.tensor([-1.0, 0.5])
    weight = modulation.pareto_weight(joint, own)
    grid = torch.linspace(0.001, 0.999, 999)
    norms = (grid[:, None] * joint + (1 - grid[:, None]) * own).norm(dim=1)
    assert weight == pytest.approx(float(grid[norms.argmin()]), abs=2e-3)


def test_gradients_go_out_as_they_came_in():
    weights = [torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(4))]
    modulation.put_gradient(weights, torch.arange(10.0))
    assert weights[0].grad.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.equal(modulation.flatten(weights), torch.arange(10.0))
    weights[0].grad = None
    assert modulation.flatten(weights)[:6].tolist() == [0] * 6


# --- re-learning


def test_a_branch_without_gap_keeps_its_weights_and_a_wide_gap_resets_it():
    start = [torch.zeros(3)]
    weights = [torch.ones(3)]
    assert modulation.pull_back(weights, start, gap=-0.2, strength=5.0) == 0
    assert torch.equal(weights[0], torch.ones(3))
    share = modulation.pull_back(weights, start, gap=0.3, strength=5.0)
    assert share == pytest.approx(math.tanh(1.5))
    assert torch.allclose(weights[0], torch.full((3,), 1 - share))
