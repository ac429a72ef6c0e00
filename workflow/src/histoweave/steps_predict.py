"""What predicting new slides shares: which slides can be used, and the gene groups that the models tell of."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.formats.explained import GROUP_EXPRESSION
from histoweave.formats.ledger import Account
from histoweave.formats.slides import QC
from histoweave.survival.combine import Member, group_expression


def usable_slides(path: Path) -> tuple[dict[str, list[str]], Account]:
    """Slides of each patient; slides without tiles go to the ledger, and so do patients who have no other."""
    qc, account = QC.read(path), Account("survival")
    good = qc[qc["status"] == "ok"].sort_values(["patient", "slide"])
    lost = sorted(set(qc["patient"]) - set(good["patient"]))
    if good.empty:
        msg = f"none of the {len(qc)} slides can be predicted ({shorten(list(qc['slide']))}). See 'reason' in {path}."
        raise InputError(msg)
    account.items("patient", "predict", n_in=qc["patient"].nunique(), n_out=good["patient"].nunique())
    account.leave_out("patient", "predict", lost, "has no slide with usable tiles")
    return {name: list(part["slide"]) for name, part in good.groupby("patient")}, account


def groups_table(ids: Sequence[str], members: Sequence[Member], metas: Sequence[Mapping]) -> pd.DataFrame:
    """Predicted expression per patient and gene group; no rows where a model predicts none.

    metas : per member, what its fold wrote beside the weights
    """
    if not all("reconstruction" in one.prediction.more for one in members):
        return GROUP_EXPRESSION.empty()
    names, sizes = [meta["groups"] for meta in metas], [meta["shape"]["group_sizes"] for meta in metas]
    return group_expression(ids, members, names, sizes)
