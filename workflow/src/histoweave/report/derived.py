"""Tables that the report makes from the run's own."""

from collections.abc import Mapping, Sequence

import pandas as pd

from histoweave.report.ablations import pooled_reconstruction
from histoweave.report.mixtures import shares_of
from histoweave.report.participants import flow


def derived(tables: Mapping[str, pd.DataFrame | None], models: Sequence[str]) -> dict[str, pd.DataFrame | None]:
    """Return `tables` with ``flow``, ``cell_types``, ``reconstruction`` and ``attention`` added where they can be made.

    models : survival models in the order of the config; ``attention`` is that of the first one that has it
    """
    made = dict(tables)
    cohort = made.get("cohort")
    risks = {model: risk for model in models if (risk := made.get(f"risk/{model}")) is not None}
    made["flow"] = None if cohort is None else flow(cohort, made.get("ledger"), risks, made.get("all_cohorts"))
    made["cell_types"] = shares_of(risks)
    tables_of = {model: made.get(f"reconstruction/{model}") for model in models}
    parts = [table.assign(model=model) for model, table in tables_of.items() if table is not None and len(table)]
    made["reconstruction"] = pooled_reconstruction(pd.concat(parts, ignore_index=True)) if parts else None
    made["attention"] = None
    for model in reversed(models):
        table = made.get(f"attention/{model}")
        if table is not None and len(table):
            made["attention"] = one_slide_per_case(table).assign(model=model)
    return made


def one_slide_per_case(attention: pd.DataFrame) -> pd.DataFrame:
    """Of each case's patient keep the slide that holds most of the attention (the first by name among equals)."""
    sums = attention.groupby(["case", "slide"])["attention"].sum().reset_index()
    best = sums.sort_values(["attention", "slide"], ascending=[False, True]).drop_duplicates("case")
    return attention.merge(best[["case", "slide"]], on=["case", "slide"])
