"""Tables of the evaluation, all under ``evaluation/`` of the results folder.

A value that cannot be computed is NaN and the column `reason` says why; otherwise `reason` is empty.
`horizon_days` is NaN for quantities that have no horizon. `model` is a name of ``survival.models``;
``kaplan_meier`` is the reference that gives everybody the survival of the training part.
"""

from histoweave.formats.table import TableKind

_WHAT = {"model": "str", "metric": "str", "horizon_days": "float"}
_INTERVAL = {"estimate": "float", "lower": "float", "upper": "float"}
_SIZE = {"n_patients": "int", "n_events": "int", "reason": "str"}

METRICS = TableKind("evaluation_metrics", 1, _WHAT | _INTERVAL | _SIZE | {"tau_days": "float"})
"""metrics.parquet: each model's performance on the patients of the test folds, with intervals.

`tau_days`: Uno's c counts events up to this day (median of the folds); the integrated Brier score ends there."""

FOLD_METRICS = TableKind(
    "evaluation_fold_metrics",
    1,
    {"repeat": "int", "fold": "int"} | _WHAT | {"estimate": "float"} | _SIZE | {"n_train": "int", "tau_days": "float"},
)
"""fold_metrics.parquet: the same, one row per repeat and fold."""

DRAWS = TableKind("evaluation_draws", 1, _WHAT | {"draw": "int", "value": "float"})
"""draws.parquet: the bootstrap draws behind the intervals; draw k takes the same patients for every model."""

COMPARISONS = TableKind(
    "evaluation_comparisons",
    1,
    {
        "model_a": "str",
        "model_b": "str",
        "metric": "str",
        "horizon_days": "float",
        "difference": "float",
        "lower": "float",
        "upper": "float",
        "p_value": "float",
        "p_holm": "float",
        "nb_p_value": "float",
        "nb_lower": "float",
        "nb_upper": "float",
        "verdict": "str",
    }
    | _SIZE,
)
"""comparisons.parquet: a minus b on the same patients; `nb_` columns are the Nadeau-Bengio test over the folds."""

KAPLAN_MEIER = TableKind(
    "evaluation_kaplan_meier",
    1,
    {"model": "str", "group": "str", "time_days": "float", "survival": "float", "lower": "float", "upper": "float"},
)
"""kaplan_meier.parquet: the steps; `group` is ``low`` or ``high`` (cut at the training median), or ``all``."""

AT_RISK = TableKind(
    "evaluation_at_risk",
    1,
    {"model": "str", "group": "str", "time_days": "float", "at_risk": "float", "events": "float", "censored": "float"},
)
"""at_risk.parquet: under the curves; counts are means over the repeats, events and censored are cumulative."""

LOGRANK = TableKind(
    "evaluation_logrank",
    1,
    {
        "model": "str",
        "statistic": "float",
        "p_value": "float",
        "n_low": "float",
        "n_high": "float",
        "events_low": "float",
        "events_high": "float",
        "median_days_low": "float",
        "median_days_high": "float",
        "reason": "str",
    },
)
"""logrank.parquet: test of the two groups, stratified by fold; the median of the repeats."""

CALIBRATION = TableKind(
    "evaluation_calibration",
    1,
    {
        "model": "str",
        "horizon_days": "float",
        "group": "int",
        "predicted": "float",
        "observed": "float",
        "lower": "float",
        "upper": "float",
        "n_patients": "float",
        "reason": "str",
    },
)
"""calibration.parquet: risk of an event by the horizon, predicted and seen, in groups of equal size."""

D_CALIBRATION = TableKind(
    "evaluation_d_calibration",
    1,
    {"model": "str", "bin": "int", "from_survival": "float", "to_survival": "float", "share": "float"},
)
"""d_calibration.parquet: share of patients whose predicted survival at their own time falls in the bin."""

DECISION = TableKind(
    "evaluation_decision",
    1,
    {"model": "str", "horizon_days": "float", "threshold": "float", "net_benefit": "float", "reason": "str"},
)
"""decision.parquet: net benefit; ``treat all`` and ``treat none`` among the models."""

HAZARD_RATIOS = TableKind(
    "evaluation_hazard_ratios",
    1,
    {
        "model": "str",
        "adjusted_for": "str",
        "hazard_ratio": "float",
        "lower": "float",
        "upper": "float",
        "p_value": "float",
        "n_patients": "int",
        "n_events": "int",
        "reason": "str",
    },
)
"""hazard_ratios.parquet: per standard deviation of the risk in its fold; `adjusted_for` is empty or the covariates."""

ADDED_VALUE = TableKind(
    "evaluation_added_value",
    1,
    {
        "model": "str",
        "covariates": "str",
        "chi_square": "float",
        "p_value": "float",
        "c_covariates": "float",
        "c_with_risk": "float",
        "change": "float",
        "lower": "float",
        "upper": "float",
        "n_patients": "int",
        "n_events": "int",
        "reason": "str",
    },
)
"""added_value.parquet: what the risk adds to the clinical covariates (likelihood ratio, change of the c-index)."""

SUBGROUPS = TableKind(
    "evaluation_subgroups",
    1,
    {"model": "str", "variable": "str", "level": "str", "metric": "str"} | _INTERVAL | _SIZE,
)
"""subgroups.parquet: c-index within sex, age band, site, ...; suppressed where there are too few events."""

AUDITS = TableKind(
    "evaluation_audits",
    1,
    {
        "check": "str",
        "subject": "str",
        "value": "float",
        "lower": "float",
        "upper": "float",
        "verdict": "str",
        "sentence": "str",
    },
)
"""audits.parquet: checks of the cohort, folds and models; `verdict` is ``ok``, ``look`` or ``fact``."""

SITES = TableKind("evaluation_sites", 1, {"kind": "str", "site": "str"} | METRICS.columns)
"""sites.parquet: metrics of models trained without a site, on that site (`kind` ``site``); over all sites; the mean of
the sites' c-indices (``mean of sites``), and the range in which that of ``another site`` is expected."""

EXTERNAL = TableKind("evaluation_external", 1, {"cohort": "str"} | METRICS.columns)
"""external.parquet: metrics on external cohorts, everything frozen from training."""

EXTERNAL_CALIBRATION = TableKind("evaluation_external_calibration", 1, {"cohort": "str"} | CALIBRATION.columns)
"""external_calibration.parquet: calibration curves on external cohorts."""

EXTERNAL_COMPARISONS = TableKind("evaluation_external_comparisons", 1, {"cohort": "str"} | COMPARISONS.columns)
"""external_comparisons.parquet: paired differences on external cohorts that several models predict."""

EXTERNAL_CURVES = TableKind("evaluation_external_curves", 1, {"cohort": "str"} | KAPLAN_MEIER.columns)
"""external_curves.parquet: Kaplan-Meier steps of the groups, cut at the training median."""

EXTERNAL_AT_RISK = TableKind("evaluation_external_at_risk", 1, {"cohort": "str"} | AT_RISK.columns)
"""external_at_risk.parquet: under those curves."""
