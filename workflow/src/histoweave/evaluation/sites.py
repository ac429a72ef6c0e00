"""Leave-one-site-out: models that were trained anew without a site, tested there; and what to expect of another site.

Sources: heterogeneity of performance over clusters by random-effects meta-analysis, Riley et al. (2016),
doi:10.1136/bmj.i3140; the c-index on the logit scale, Debray et al. (2019), doi:10.1177/0962280218785504;
prediction interval, Higgins et al. (2009), doi:10.1111/j.1467-985X.2008.00552.x, eq. 12.

| symbol | name here | axes | meaning |
|---|---|---|---|
| theta_i | effect | (site,) | logit of the c-index of a site |
| s_i^2 | variance | (site,) | its variance, from the bootstrap draws by the delta method |
| mu, tau^2 | mean, between | () | mean over sites, and variance between them (Paule and Mandel's estimate) |
| k | len(effect) | () | number of sites |

Prediction interval: mu +- t(k - 2) sqrt(tau^2 + SE(mu)^2). Sites whose c-index is 0 or 1, or does not vary, are left
out of the mean (our choice); the rows of the sites show them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import special, stats
from statsmodels.stats.meta_analysis import combine_effects

from histoweave.errors import counted
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.panel import Panel, Predictions
from histoweave.evaluation.scores import NO_HORIZON
from histoweave.evaluation.summary import AssessSettings, Evaluated, assess, metric_rows

SITE, ALL, MEAN, ANOTHER = "site", "all sites", "mean of sites", "another site"
_FEWEST_SITES = 3


def site_table(
    panel: Panel, model: Predictions, sites: Sequence[str], weights: np.ndarray, settings: AssessSettings
) -> pd.DataFrame:
    """Metrics of one model at each site, over all of them, and what to expect of another site.

    panel : its folds test one site each, named by `sites` (fold,); weights : (draw, patient of the panel).
    Returns the rows of metrics with ``kind`` and ``site``; comparisons of patients stay within a site.
    """
    parts, single = [], []
    for part, site in zip(model.folds, sites, strict=True):
        if len(part.risk):
            single.append(assess(replace(model, folds=(part,)), weights, settings))
            rows = metric_rows(panel, single[-1], settings=settings.bootstrap)
            parts.append(rows.assign(kind=SITE, site=site))
    whole = assess(model, weights, settings)
    parts.append(metric_rows(panel, whole, settings=settings.bootstrap).assign(kind=ALL, site=""))
    return pd.concat([*parts, expected(panel, whole, single, settings.bootstrap)], ignore_index=True)


def expected(panel: Panel, whole: Evaluated, single: Sequence[Evaluated], settings: BootstrapSettings) -> pd.DataFrame:
    """Two rows of the c-index: its mean over the sites, and the range in which that of another site is expected."""
    key = ("c_index", NO_HORIZON)
    values = np.array([done.draws[key][0] for done in single])
    errors = np.array([np.nanstd(done.draws[key][1:], ddof=1) for done in single])
    used = np.isfinite(values) & np.isfinite(errors) & (errors > 0) & (values > 0) & (values < 1)
    mean, another = random_effects(values[used], errors[used], confidence=settings.confidence)
    who = whole.predictions.patients()
    row = {"model": whole.predictions.model, "metric": key[0], "horizon_days": np.nan, "tau_days": np.nan, "site": ""}
    row |= {"n_patients": len(who), "n_events": int(panel.event[who].sum())}
    enough = used.sum() >= _FEWEST_SITES
    few = "" if enough else f"{counted(used.sum(), 'site')} with a c-index; {_FEWEST_SITES} are needed"
    names = ("estimate", "lower", "upper")
    return pd.DataFrame(
        [row | dict(zip(names, found, strict=True)) | {"kind": kind, "reason": few}
         for kind, found in ((MEAN, mean), (ANOTHER, another))]
    )  # fmt: skip


def random_effects(
    values: np.ndarray, errors: np.ndarray, *, confidence: float
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean of c-indices with its interval, and the same mean with the prediction interval of another site.

    values, errors : (site,) c-index and its standard error. NaN for fewer than three sites.
    """
    count = len(values)
    if count < _FEWEST_SITES:
        return (np.nan,) * 3, (np.nan,) * 3
    effect, variance = special.logit(values), (errors / (values * (1 - values))) ** 2
    fit = combine_effects(effect, variance, method_re="iterated", use_t=True)
    mean, between = fit.mean_effect_re, max(fit.tau2, 0.0)
    error = max(fit.sd_eff_w_re, np.sqrt(fit.var_hksj_re))  # never narrower than without Hartung and Knapp's scale
    spread = stats.t.ppf(0.5 + confidence / 2, count - 1) * error
    wide = stats.t.ppf(0.5 + confidence / 2, count - 2) * np.sqrt(
        between + fit.sd_eff_w_re**2
    )  # Higgins et al., eq. 12
    found = [tuple(map(float, special.expit([mean, mean - half, mean + half]))) for half in (spread, wide)]
    return found[0], found[1]
