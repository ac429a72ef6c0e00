"""Harrell's concordance on the inner validation part, for picking an epoch or a penalty."""

import numpy as np


def concordance(time: np.ndarray, event: np.ndarray, risk: np.ndarray) -> float:
    """Share of comparable pairs whose higher risk has the earlier event (doi:10.1001/jama.1982.03320430047030).

    time, event, risk : (patient,). Ties in risk count half; 0.5 where no pair is comparable.
    """
    time, event, risk = (np.asarray(values, dtype=float) for values in (time, event, risk))
    first = event > 0
    later = (time[None, :] > time[first][:, None]) | ((time[None, :] == time[first][:, None]) & (event[None, :] <= 0))
    difference = risk[first][:, None] - risk[None, :]  # (event, patient)
    pairs = later.sum()
    if pairs == 0:
        return 0.5
    return float(((difference > 0) & later).sum() + 0.5 * ((difference == 0) & later).sum()) / float(pairs)
