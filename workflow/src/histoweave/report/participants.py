"""How patients came into the analysis: counts for the participant flow and the baseline table."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

Tables = Mapping[str, pd.DataFrame | None]


def flow(
    cohort: pd.DataFrame,
    ledger: pd.DataFrame | None,
    risks: Mapping[str, pd.DataFrame],
    everybody: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Boxes of the participant flow: ``level``, ``step``, ``n``, ``left_out``, ``reason``.

    cohort : one row per analysed patient with ``event``, ``has_slide``, ``has_expression``
    ledger : rows of all steps; those of kind "patient" left before the cohort if the cohort does not hold them
    risks : model -> out-of-fold risks with ``patient``
    everybody : patients of all cohorts with ``cohort`` and ``role``, where some are external
    """
    others = pd.Series(dtype=str) if everybody is None else everybody.loc[everybody["role"] == "external", "cohort"]
    gone = _before_cohort(cohort if everybody is None else everybody, ledger)
    left = gone["item"].nunique()
    slide, expression = cohort["has_slide"].astype(bool), cohort["has_expression"].astype(bool)
    tested = {name for table in risks.values() for name in table["patient"]}
    rows = [
        (0, "patients in the table", len(cohort) + len(others) + left, 0, ""),
        (1, "analysed: with follow-up", len(cohort) + len(others), left, reasons(gone)),
        (3, "with slide", int(slide.sum()), 0, ""),
        (3, "with expression", int(expression.sum()), 0, ""),
        (3, "with both", int((slide & expression).sum()), 0, ""),
        (3, "with an out-of-fold risk", len(tested), 0, ""),
    ]
    if len(others):
        apart = ", ".join(f"{name} ({count})" for name, count in others.value_counts().sort_index().items())
        rows.insert(2, (2, "training cohorts", len(cohort), len(others), f"external cohorts, validated on: {apart}"))
    return pd.DataFrame(rows, columns=["level", "step", "n", "left_out", "reason"])


def _before_cohort(cohort: pd.DataFrame, ledger: pd.DataFrame | None) -> pd.DataFrame:
    if ledger is None:
        return pd.DataFrame({"item": [], "reason": []})
    patients = ledger[ledger["kind"] == "patient"]
    return patients[~patients["item"].isin(cohort["patient"])].drop_duplicates("item")


def reasons(rows: pd.DataFrame, *, most: int = 3) -> str:
    """``no follow-up (3); no slide (1)`` of the rows of a ledger, the most frequent first."""
    counts = rows["reason"].value_counts()
    parts = [f"{reason} ({count})" for reason, count in counts.head(most).items()]
    if len(counts) > most:
        parts.append(f"{counts.iloc[most:].sum()} for other reasons")
    return "; ".join(parts)


def baseline(cohort: pd.DataFrame, covariates: Mapping[str, str]) -> pd.DataFrame:
    """Patients' characteristics by event.

    Returns ``variable``, ``level``, ``all``, ``event``, ``no_event``, ``missing``, ``smd``.
    covariates : name -> ``numeric | category``
    smd : standardised mean difference between those with and without an event (Austin, doi:10.1002/sim.3697)
    """
    event = cohort["event"].astype(bool)
    rows = []
    for name, kind in covariates.items():
        if name in cohort:
            rows += _numeric(cohort[name], event) if kind == "numeric" else _levels(cohort[name], event)
    columns = ["variable", "level", "all", "event", "no_event", "missing", "smd"]
    return pd.DataFrame(rows, columns=columns)


def _numeric(values: pd.Series, event: pd.Series) -> list[tuple]:
    values = pd.to_numeric(values, errors="coerce")
    parts = [values, values[event], values[~event]]
    spread = np.sqrt((parts[1].var() + parts[2].var()) / 2)
    smd = (parts[1].mean() - parts[2].mean()) / spread if spread > 0 else np.nan
    cells = [f"{part.median():.1f} ({part.quantile(0.25):.1f} to {part.quantile(0.75):.1f})" for part in parts]
    return [(values.name, "median (quartiles)", *cells, int(values.isna().sum()), smd)]


def _levels(values: pd.Series, event: pd.Series) -> list[tuple]:
    rows = []
    for level in sorted(values.dropna().astype(str).unique()):
        here = values.astype(str) == level
        share = [here.mean(), here[event].mean(), here[~event].mean()]
        spread = np.sqrt((share[1] * (1 - share[1]) + share[2] * (1 - share[2])) / 2)
        smd = (share[1] - share[2]) / spread if spread > 0 else np.nan
        counts = [here.sum(), here[event].sum(), here[~event].sum()]
        cells = [f"{count:,} ({100 * part:.0f} %)" for count, part in zip(counts, share, strict=True)]
        rows.append((values.name, level, *cells, int(values.isna().sum()), smd))
    return rows


def follow_up(cohort: pd.DataFrame) -> dict[str, float]:
    """Patients, events, their share, and the median follow-up in days by reverse Kaplan-Meier (NaN if not reached).

    Reverse Kaplan-Meier (Schemper and Smith, doi:10.1016/0197-2456(96)00075-x): the curve of staying under observation,
    in which censoring is the event. Deaths at a time leave the risk set before that time's censorings.
    """
    time, event = cohort["time_days"].to_numpy(), cohort["event"].to_numpy().astype(bool)
    order = np.lexsort((~event, time))
    time, censored = time[order], ~event[order]
    curve = np.cumprod(1 - censored / np.arange(len(time), 0, -1))
    below = np.flatnonzero(curve <= 0.5)
    median = float(time[below[0]]) if len(below) else np.nan
    events = int(event.sum())
    return {"patients": len(time), "events": events, "share": events / max(1, len(time)), "median_days": median}
