"""Balancing two modalities in one Cox model: who learns faster, and what to do about it.

Sources: Path-GPTOmic (doi:10.1109/ISBI56570.2024.10635171, arXiv:2403.11375), eqs. 5-8; OGM-GE (Peng et al. 2022,
arXiv:2203.15332); MMPareto (Wei and Hu 2024, arXiv:2405.17730); diagnosing and re-learning (Wei et al. 2024,
arXiv:2407.09705); detached fusion: DGL (ICCV 2025).

| symbol     | name here       | axes       | meaning                                                              |
|------------|-----------------|------------|----------------------------------------------------------------------|
| theta^u_k  | `logit`         | (patient,) | branch u's own part of the log hazard, W_u . u_k                     |
| s^u_k      | `event_shares`  | (event,)   | exp(theta^u_k) / sum over the risk set: "which member had the event" |
| rho_G      | `gene_to_slide` | scalar     | how far ahead the genomic branch is; rho_P = 1 / rho_G               |
| k_u        | `coefficient`   | scalar     | factor on branch u's learning rate, min(1 - tanh(a (rho_u - 1)), 1)  |
| g_m, g_u   | `joint`, `own`  | (weight,)  | gradient of the fused and of the branch's own loss                   |

Deviations, and why:
- Eq. 5 as printed puts raw logits over sums of exponentials. A logit may be negative and moves when a constant is added
  to all of them, so the ratio changes sign and means nothing (negative in 38 % of events on random input). What is
  comparable is the partial-likelihood share s^u_k, the Cox analogue of the softmax probability in OGM-GE: numerator
  exp(theta). `sum` divides the summed shares, exactly as OGM-GE does; `geo` divides their geometric means, which is
  exp of the difference of the two Cox losses, and is not ruled by late events with few patients left at risk.
- Eqs. 5-6 hold per event; the paper gives no rule for a batch. Ours: over the batch's events with at least two patients
  at risk; fewer than two such events change nothing; the logarithm of rho is smoothed over batches, which are noisy.
- The coefficient scales the step (learning rate of the branch), as eqs. 7-8 say: Adam divides a constant factor of the
  gradient away again. No noise is added (OGM-GE's "GE").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

RULES = ("none", "ogm_cox_sum", "ogm_cox_geo", "dgl", "mmpareto", "relearn")
_FEWEST_EVENTS = 2
_LOG_BOUND = 5.0


@dataclass(frozen=True)
class BalanceSettings:
    """How two branches are kept in balance.

    rule : one of `RULES`; strength : a of eqs. 7-8
    smoothing : weight of the past in log rho, 0 = each batch alone
    first_epoch, last_epoch : epochs with modulation (0 = to the end)
    unimodal_weight : weight of the branches' own losses, for `dgl` and `mmpareto`
    pareto_norm : factor on MMPareto's gradient
    relearn_every : epochs between two pulls; relearn_strength : lambda, how hard a gap pulls toward the start
    """

    rule: str
    strength: float
    smoothing: float
    first_epoch: int
    last_epoch: int
    unimodal_weight: float
    pareto_norm: float
    relearn_every: int
    relearn_strength: float


def event_shares(logit: Tensor, time: Tensor, event: Tensor) -> Tensor:
    """Log of s^u_k for each event with at least two patients at risk; logit, time, event : (patient,) -> (event,)."""
    order = torch.argsort(time, descending=True, stable=True)
    theta, time, event = logit[order], time[order], event[order].bool()
    last = torch.searchsorted(-time, -time, right=True) - 1  # ties share their risk set
    log_sum = torch.logcumsumexp(theta, dim=0)[last]
    return (theta - log_sum)[event & (last > 0)]


def log_gene_to_slide(gene: Tensor, slide: Tensor, time: Tensor, event: Tensor, *, rule: str) -> float | None:
    """Log of rho_G over a batch (eq. 5, corrected); None with fewer than two usable events.

    gene, slide : (patient,) logits of the branches; rule : ``ogm_cox_sum`` or ``ogm_cox_geo``
    """
    own, other = (event_shares(logit, time, event) for logit in (gene, slide))
    if len(own) < _FEWEST_EVENTS:
        return None
    if rule == "ogm_cox_sum":
        return float(torch.logsumexp(own, 0) - torch.logsumexp(other, 0))
    return float(own.mean() - other.mean())


def coefficient(log_rho: float, *, strength: float) -> float:
    """k_u of eqs. 7-8 from log rho_u: 1 for a branch that is not ahead, toward 0 for one that is far ahead."""
    return min(1.0 - math.tanh(strength * (math.exp(min(log_rho, _LOG_BOUND)) - 1.0)), 1.0)


@dataclass
class Modulator:
    """Keeps the smoothed log rho and turns it into the two coefficients."""

    settings: BalanceSettings
    log_rho: float | None = field(default=None)

    def update(self, gene: Tensor, slide: Tensor, time: Tensor, event: Tensor) -> tuple[float, float]:
        """Coefficients (k_G, k_P) after a batch; without usable events those of before, (1, 1) at the start."""
        found = log_gene_to_slide(gene, slide, time, event, rule=self.settings.rule)
        if found is not None:
            past = self.settings.smoothing if self.log_rho is not None else 0.0
            self.log_rho = past * (self.log_rho or 0.0) + (1.0 - past) * found
        return self.coefficients()

    def coefficients(self) -> tuple[float, float]:
        """(k_G, k_P) at the present log rho."""
        log_rho = self.log_rho or 0.0
        strength = self.settings.strength
        return coefficient(log_rho, strength=strength), coefficient(-log_rho, strength=strength)


def pareto_weight(joint: Tensor, own: Tensor) -> float:
    """Weight of the fused gradient g_m in MMPareto: 1/2 without conflict, else the min-norm point of the two."""
    if torch.dot(joint, own) > 0:
        return 0.5
    difference = joint - own
    length = torch.dot(difference, difference)
    if length == 0:
        return 0.5
    return float(torch.clamp(torch.dot(own - joint, own) / length, 0.001, 0.999))


def pareto_gradient(joint: Tensor, own: Tensor, *, norm: float) -> Tensor:
    """MMPareto's gradient of one branch: 2 w_m g_m + 2 w_u g_u, no shorter than g_m + g_u, times `norm`.

    joint, own : (weight,) flattened gradients of the fused and of the branch's own loss
    """
    weight = pareto_weight(joint, own)
    mixed = 2 * weight * joint + 2 * (1 - weight) * own
    length, plain = mixed.norm(), (joint + own).norm()
    if 0 < length < plain:
        mixed = mixed * (plain / length)
    return norm * mixed


def flatten(parameters: Sequence[Tensor]) -> Tensor:
    """Gradients of `parameters` as one vector, zero where there is none."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])


def put_gradient(parameters: Sequence[Tensor], gradient: Tensor) -> None:
    """Set the gradients of `parameters` from one vector, the inverse of `flatten`."""
    for parameter, part in zip(parameters, gradient.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter).clone()


@torch.no_grad()
def pull_back(parameters: Sequence[Tensor], start: Sequence[Tensor], *, gap: float, strength: float) -> float:
    """Move over-fitted weights toward their start: w = tanh(lambda gap), weights <- w start + (1 - w) weights.

    gap : unimodal c-index of the training part minus that of the inner validation part, >= 0 counts
    Returns w.
    """
    share = math.tanh(strength * max(gap, 0.0))
    for parameter, origin in zip(parameters, start, strict=True):
        parameter.lerp_(origin, share)
    return share
