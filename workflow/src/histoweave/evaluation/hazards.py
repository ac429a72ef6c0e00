"""Hazard ratios of a model's risk, and what it adds to the clinical covariates.

Sources: REMARK (Altman et al. 2012), doi:10.1371/journal.pmed.1001216, items 15-17; added value by likelihood ratio
and change of concordance: McLernon et al. (2023), doi:10.7326/M22-0844.

| symbol | name here | axes | meaning |
|---|---|---|---|
| z_i | scaled | (row,) | risk, less its mean and over its standard deviation in the fold |
| x_i | design | (row, covariate) | clinical covariates, categories as indicators |
| LR | chi_square | () | twice the gain in partial log likelihood when z joins x |

All fits are stratified by fold, because risks of different folds come from different models. Standard errors are
averaged over repeats (the same patients again); the likelihood ratio is that of the median repeat. The two c-indices
are cross-fitted: coefficients from the other folds of a repeat, comparisons within the fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import stats

from histoweave.errors import InputError, counted, shorten
from histoweave.evaluation.calibration import Repeat, repeats_of
from histoweave.evaluation.cox import CoxFit, fit_cox
from histoweave.evaluation.intervals import BootstrapSettings, normal_quantile, percentile_interval
from histoweave.evaluation.panel import FoldPrediction, Panel, Predictions
from histoweave.evaluation.scores import NO_HORIZON, pool, score_predictions

_CONSTANT = 1e-12


@dataclass(frozen=True)
class HazardSettings:
    """What hazard ratios are adjusted for.

    adjust_for : names of ``inputs.covariates``; empty for all of them
    """

    section: ClassVar[str] = "evaluation.hazards"
    adjust_for: tuple[str, ...]


@dataclass(frozen=True)
class Covariates:
    """Clinical covariates as numbers.

    names : of the covariates; values : (patient of the panel, column), NaN where one is unknown
    """

    names: tuple[str, ...]
    values: np.ndarray

    def known(self) -> np.ndarray:
        """Return (patient,) whether all covariates of the patient are known."""
        return np.isfinite(self.values).all(axis=1)


def make_covariates(table: pd.DataFrame, wanted: Sequence[str]) -> Covariates:
    """Turn covariates into numbers: numeric ones scaled to standard deviation 1, categories as indicators.

    table : (patient of the panel, covariate); wanted : names, or none for all. Constant columns are left out.
    """
    if unknown := sorted(set(wanted) - set(table)):
        msg = f"evaluation.hazards.adjust_for: {shorten(unknown)} is not in inputs.covariates. Correct it."
        raise InputError(msg)
    names, columns = [], []
    for name in wanted or table.columns:
        made = _columns(table[name])
        made = made[:, np.nanstd(made, axis=0) > _CONSTANT]
        if made.shape[1]:
            names.append(name)
            columns.append(made)
    return Covariates(tuple(names), np.concatenate(columns, axis=1) if columns else np.zeros((len(table), 0)))


def _columns(column: pd.Series) -> np.ndarray:
    """Numbers of one covariate: (patient, column)."""
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(float, na_value=np.nan)
        return ((values - np.nanmean(values)) / max(np.nanstd(values), _CONSTANT))[:, None]
    levels = sorted(column.dropna().unique())
    values = np.stack([(column == level).to_numpy(float) for level in levels[1:]] or [np.zeros(len(column))], axis=1)
    values[column.isna().to_numpy()] = np.nan
    return values


def scaled_risks(data: Repeat) -> np.ndarray:
    """Risk on the scale of its standard deviation in the fold (row,); zero where a fold's risks do not differ."""
    scaled = np.zeros(len(data.risk))
    for fold in np.unique(data.stratum):
        here = data.stratum == fold
        spread = data.risk[here].std()
        scaled[here] = (data.risk[here] - data.risk[here].mean()) / spread if spread > _CONSTANT else 0.0
    return scaled


def hazard_ratio_row(
    panel: Panel, predictions: Predictions, covariates: Covariates | None, *, confidence: float
) -> dict:
    """Row of the table of hazard ratios; `covariates` to adjust for, or None."""
    keep = np.ones(len(panel.time), bool) if covariates is None else covariates.known()
    model = predictions.only(np.flatnonzero(keep))
    who = model.patients()
    row = {"model": predictions.model, "adjusted_for": " + ".join(covariates.names) if covariates else ""}
    row |= {"n_patients": len(who), "n_events": int(panel.event[who].sum())}
    fits = [_fit(data, covariates) for data in repeats_of(model)] if len(who) else []
    if not fits or not all(fit.converged for fit in fits):
        missing = {"hazard_ratio": np.nan, "lower": np.nan, "upper": np.nan, "p_value": np.nan}
        return row | missing | {"reason": "risks that do not differ, too few events, or complete separation"}
    beta, error = (
        float(np.mean(values)) for values in ([f.coefficients[0] for f in fits], [f.errors[0] for f in fits])
    )
    spread = normal_quantile(confidence) * error
    row |= {"hazard_ratio": np.exp(beta), "lower": np.exp(beta - spread), "upper": np.exp(beta + spread)}
    return row | {"p_value": float(2 * stats.norm.sf(abs(beta) / error)), "reason": _left_out(predictions, model)}


def _fit(data: Repeat, covariates: Covariates | None) -> CoxFit:
    clinical = np.zeros((len(data.risk), 0)) if covariates is None else covariates.values[data.patients]
    return fit_cox(np.column_stack([scaled_risks(data), clinical]), data.time, data.event, stratum=data.stratum)


def _left_out(full: Predictions, used: Predictions) -> str:
    count = len(full.patients()) - len(used.patients())
    return f"{counted(count, 'patient')} with an unknown covariate left out" if count else ""


def added_value_row(
    panel: Panel, predictions: Predictions, covariates: Covariates, weights: np.ndarray, *, settings: BootstrapSettings
) -> dict:
    """Row of the table of added value; weights : (draw, patient of the panel)."""
    model = predictions.only(np.flatnonzero(covariates.known()))
    who = model.patients()
    row = {"model": predictions.model, "covariates": " + ".join(covariates.names), "n_patients": len(who)}
    row |= {"n_events": int(panel.event[who].sum())}
    row |= dict.fromkeys(("chi_square", "p_value", "c_covariates", "c_with_risk", "change", "lower", "upper"), np.nan)
    if not covariates.names or not len(who):
        return row | {"reason": "no covariate is given in inputs.covariates, or none is known"}
    ratios = [_likelihood_ratio(data, covariates) for data in repeats_of(model)]
    if not np.isfinite(ratios).all():
        return row | {"reason": "risks that do not differ, too few events, or complete separation"}
    row |= {"chi_square": float(np.median(ratios)), "p_value": float(stats.chi2.sf(np.median(ratios), 1))}
    clinical, both = (
        pool(
            score_predictions(
                _cross_fitted(model, covariates, with_risk=w), weights, horizons=[], grid=[], tau_quantile=1.0
            )
        )
        for w in (False, True)
    )
    before, after = clinical["c_index", NO_HORIZON], both["c_index", NO_HORIZON]
    lower, upper = percentile_interval((after - before)[1:], confidence=settings.confidence)
    row |= {"c_covariates": before[0], "c_with_risk": after[0], "change": after[0] - before[0]}
    return row | {"lower": lower, "upper": upper, "reason": _left_out(predictions, model)}


def _likelihood_ratio(data: Repeat, covariates: Covariates) -> float:
    clinical = covariates.values[data.patients]
    without = fit_cox(clinical, data.time, data.event, stratum=data.stratum)
    full = _fit(data, covariates)
    ratio = 2 * (full.log_likelihood - without.log_likelihood)
    return max(ratio, 0.0) if full.converged and without.converged else np.nan


def _cross_fitted(model: Predictions, covariates: Covariates, *, with_risk: bool) -> Predictions:
    """Linear predictor of each fold with coefficients from the other folds of the repeat."""
    made = {}
    for repeat, data in zip(sorted({part.fold.repeat for part in model.folds}), repeats_of(model), strict=True):
        design = covariates.values[data.patients]
        if with_risk:
            design = np.column_stack([scaled_risks(data), design])
        for fold in np.unique(data.stratum):
            here = data.stratum == fold
            rest = here if here.all() else ~here
            fit = fit_cox(design[rest], data.time[rest], data.event[rest], stratum=data.stratum[rest])
            made[repeat, fold] = design[here] @ fit.coefficients
    parts = [
        FoldPrediction(p.fold, made.get((p.fold.repeat, p.fold.fold), np.zeros(0)), p.survival, np.nan)
        for p in model.folds
    ]
    return Predictions(model.model, model.times_days, tuple(parts))
