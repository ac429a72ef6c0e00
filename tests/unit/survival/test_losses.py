import numpy as np
import pytest
import torch
from torchsurv.loss import cox as torchsurv_cox

from histoweave.survival.losses import TIES, cox_loss, discrete_loss


def draw(n=60, seed=0, last=20):
    rng = np.random.default_rng(seed)
    risk = torch.tensor(rng.normal(size=n), requires_grad=True)
    return risk, torch.tensor(rng.integers(1, last, n).astype(float)), torch.tensor((rng.random(n) < 0.6).astype(float))


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.filterwarnings("ignore:Ties in")
def test_equals_torchsurv_with_ties(ties):
    risk, time, event = draw()
    theirs = torchsurv_cox.neg_partial_log_likelihood(risk, event.bool(), time, ties_method=ties, reduction="sum")
    ours = cox_loss(risk, time, event, ties=ties)
    torch.testing.assert_close((ours * event.sum()).float(), theirs)
    gradient = torch.autograd.grad(ours * event.sum(), risk)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs, risk)[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ties", TIES)
def test_gradient_is_that_of_finite_differences(ties):
    risk, time, event = draw(n=12, last=6)
    assert torch.autograd.gradcheck(lambda r: cox_loss(r, time, event, ties=ties), (risk,))


def test_hand_computed_case():
    risk, time = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([1.0, 2.0, 3.0])
    expected = np.mean([np.log(np.e + 1 + np.e**2) - 1, np.log(1 + np.e**2)])
    value = cox_loss(risk, time, torch.tensor([1.0, 1.0, 0.0]), ties="breslow")
    assert float(value) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("ties", TIES)
def test_shift_changes_nothing_and_equal_risks_give_the_chance_level(ties):
    risk, time, event = draw(last=10**6)
    assert cox_loss(risk + 7, time, event, ties=ties).item() == pytest.approx(
        cox_loss(risk, time, event, ties=ties).item()
    )
    sizes = [(time >= t).sum() for t in time[event > 0]]
    assert cox_loss(0 * risk, time, event, ties=ties).item() == pytest.approx(np.mean(np.log(sizes)))


def test_ties_methods_agree_without_ties_and_differ_with():
    risk, time, event = draw(last=10**6)
    torch.testing.assert_close(*(cox_loss(risk, time, event, ties=ties) for ties in TIES))
    risk, time, event = draw(last=4)
    assert cox_loss(risk, time, event, ties="efron").item() < cox_loss(risk, time, event, ties="breslow").item()


def test_without_events_nothing_moves():
    risk, time, event = draw()
    value = cox_loss(risk, time, 0 * event, ties="efron")
    assert value.item() == 0
    assert float(torch.autograd.grad(value, risk)[0].abs().max()) == 0


def test_large_risks_stay_finite():
    risk, time, event = draw()
    assert torch.isfinite(cox_loss(risk * 1000, time, event, ties="efron"))


def test_discrete_loss_is_the_likelihood_of_the_bins():
    logits = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.3, -0.2, 0.9, 0.1]], dtype=torch.float64)
    hazard = torch.sigmoid(logits[0])
    event = hazard[2] * (1 - hazard[0]) * (1 - hazard[1])
    censored = (1 - hazard[0]) * (1 - hazard[1]) * (1 - hazard[2])
    expected = -(torch.log(event) + torch.log(censored)) / 2
    value = discrete_loss(logits, torch.tensor([2, 2]), torch.tensor([1, 0]))
    torch.testing.assert_close(value, expected)


def test_discrete_probabilities_of_all_outcomes_sum_to_one():
    logits = torch.randn(1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    parts = [torch.exp(-discrete_loss(logits, torch.tensor([b]), torch.tensor([1]))) for b in range(4)]
    parts.append(torch.exp(-discrete_loss(logits, torch.tensor([3]), torch.tensor([0]))))
    assert float(sum(parts)) == pytest.approx(1.0)
