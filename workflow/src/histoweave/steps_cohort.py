"""What assembling the cohort writes beside the table of patients: their molecular profiles, external cohorts."""

from collections.abc import Mapping
from pathlib import Path

import anndata as ad
import pandas as pd

from histoweave.formats.h5ad import MatrixKind
from histoweave.formats.ledger import Account
from histoweave.formats.survival import COHORTS, read_cohorts
from histoweave.survival.cohort import with_roles


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


def write_all_cohorts(
    cohort: pd.DataFrame, patients: Path, roles: Mapping[str, str], path: Path, record: dict
) -> pd.DataFrame:
    """Write all patients with their cohort and its role; returns those of the training cohorts.

    patients : the patients table; roles : cohort -> ``train | external``
    """
    everybody = with_roles(cohort, read_cohorts(patients), roles)
    COHORTS.write(everybody, path, provenance=record)
    return cohort[(everybody["role"] == "train").to_numpy()].reset_index(drop=True)
