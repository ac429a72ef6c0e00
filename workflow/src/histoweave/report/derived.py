"""Tables that the report makes from the run's own."""

from collections.abc import Mapping, Sequence

import pandas as pd

from histoweave.report.participants import flow
from histoweave.report.projection import principal_plane


def derived(tables: Mapping[str, pd.DataFrame | None], models: Sequence[str]) -> dict[str, pd.DataFrame | None]:
    """Return `tables` with ``flow``, ``gene_plane`` and ``attention`` added where they can be made.

    models : survival models in the order of the config; ``attention`` is that of the first one that has it
    """
    made = dict(tables)
    cohort, vectors = made.get("cohort"), made.get("gene_embedding")
    risks = {model: risk for model in models if (risk := made.get(f"risk/{model}")) is not None}
    made["flow"] = None if cohort is None else flow(cohort, made.get("ledger"), risks)
    made["gene_plane"] = None if vectors is None else principal_plane(vectors, made.get("modules"))
    looked = [model for model in models if made.get(f"attention/{model}") is not None]
    made["attention"] = made[f"attention/{looked[0]}"].assign(model=looked[0]) if looked else None
    return made
