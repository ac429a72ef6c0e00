"""What assembling the cohort writes beside the table of patients: their molecular profiles."""

from pathlib import Path

import anndata as ad
import pandas as pd

from histoweave.formats.h5ad import MatrixKind
from histoweave.formats.ledger import Account


def write_profiles(
    kind: MatrixKind,
    table: pd.DataFrame,
    cohort: pd.DataFrame,
    path: Path,
    account: Account,
    record: dict,
    *,
    scale: str,
) -> None:
    """Write the rows of the cohort's patients; the others go to the ledger."""
    kept = table[table.index.isin(cohort["patient"])].sort_index()
    what = kind.name.removeprefix("cohort_")
    account.items(f"{what} profile", what, n_in=len(table), n_out=len(kept))
    account.leave_out(
        f"{what} profile", what, sorted(set(table.index) - set(kept.index)), "its patient is not analysed"
    )
    data = ad.AnnData(
        kept.to_numpy("float32"), obs=pd.DataFrame(index=kept.index), var=pd.DataFrame(index=kept.columns)
    )
    data.uns["scale"] = scale
    kind.write(data, path, provenance=record)
