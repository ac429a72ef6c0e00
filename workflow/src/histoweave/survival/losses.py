"""Survival losses: Cox partial likelihood (Breslow and Efron ties) and the discrete-time likelihood.

Sources: Cox 1972 (doi:10.1111/j.2517-6161.1972.tb00899.x); Breslow 1974 (doi:10.2307/2529620);
Efron 1977 (doi:10.1080/01621459.1977.10480613); discrete time: Zadeh and Schmid 2021 (doi:10.1109/TPAMI.2020.2979450).

| symbol | name here | axes | meaning |
|---|---|---|---|
| theta | risk | (patient,) | log hazard ratio |
| t, delta | time, event | (patient,) | follow-up, 1 = event |
| d_k | ties | (event,) | events that share one time |
| h_b | sigmoid(logits) | (patient, bin) | hazard of time bin b |
| Y | time_bin | (patient,) | bin of the follow-up time |
"""

import torch
from torch.nn.functional import logsigmoid

TIES = ("breslow", "efron")


def cox_loss(risk: torch.Tensor, time: torch.Tensor, event: torch.Tensor, *, ties: str) -> torch.Tensor:
    """Mean over events of the negative log partial likelihood.

    risk, time, event : (patient,), all patients of one risk set pool; `event` is 0 or 1
    ties : ``breslow`` or ``efron``
    Without any event the patients hold no information: the value is 0 and so are the gradients.
    """
    order = torch.argsort(time, descending=True, stable=True)
    theta, time, event = risk[order], time[order], event[order].bool()
    if not event.any():
        return theta.sum() * 0.0
    log_sum = torch.logcumsumexp(theta, dim=0)  # over everybody with time >= t_k, up to ties
    last = torch.searchsorted(-time, -time, right=True) - 1  # last of those that share the time
    log_sum = log_sum[last]
    if ties == "breslow":
        return (log_sum - theta)[event].mean()
    return (_efron_sums(theta, time, event, log_sum) - theta[event]).mean()


def _efron_sums(theta: torch.Tensor, time: torch.Tensor, event: torch.Tensor, log_sum: torch.Tensor) -> torch.Tensor:
    """Log of Efron's denominators (event,): the risk set less l/d of the events that share its time."""
    _, group = torch.unique_consecutive(time[event], return_inverse=True)
    size = torch.bincount(group)  # d, events per time
    first = torch.cumsum(size, dim=0) - size
    place = torch.arange(len(group), device=theta.device) - first[group]  # l = 0 .. d-1
    share = place / size[group]
    at_risk = log_sum[event]
    relative = torch.zeros(len(size), dtype=theta.dtype, device=theta.device)
    relative = relative.index_add(0, group, torch.exp(theta[event] - at_risk))[group]  # <= 1
    return at_risk + torch.log1p(-share * relative)


def discrete_loss(logits: torch.Tensor, time_bin: torch.Tensor, event: torch.Tensor) -> torch.Tensor:
    """Mean over patients of the negative log likelihood in discrete time.

    logits : (patient, bin), hazards are their sigmoids; time_bin : (patient,); event : (patient,) 0 or 1
    An event in bin Y gives h_Y prod_{j<Y} (1 - h_j); censoring in Y gives prod_{j<=Y} (1 - h_j).
    """
    log_alive = logsigmoid(-logits)  # log(1 - h), (patient, bin)
    survived = torch.cumsum(log_alive, dim=1)
    at = time_bin.long()[:, None]
    in_bin = logits.gather(1, at), log_alive.gather(1, at), survived.gather(1, at)
    chosen, alive, until = (column[:, 0] for column in in_bin)
    log_event = until - alive + logsigmoid(chosen)
    return -torch.where(event.bool(), log_event, until).mean()
