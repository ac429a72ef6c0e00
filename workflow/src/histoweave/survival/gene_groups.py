"""Groups of genes in a cohort's expression: which columns, and which of them speak about survival (the gene gate)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from histoweave.errors import InputError, shorten
from histoweave.survival.interface import EXPRESSION, Patients
from histoweave.survival.profiles import ProfileScale

RULES = ("top", "bh", "none")


@dataclass(frozen=True)
class GroupSettings:
    """Where gene groups come from.

    source : ``functional`` (six families of `resources/`), ``gmt`` (the file under `path`) or ``modules`` (gene graph)
    least_genes : a group with fewer genes in the expression table is left out; most_groups : the largest are kept
    """

    section: ClassVar[str] = "survival.gene_groups"
    source: str
    path: str | None
    least_genes: int
    most_groups: int


@dataclass(frozen=True)
class GateSettings:
    """Which genes of a group are predicted.

    rule : ``top`` (the `per_group` smallest p-values), ``bh`` (q <= `fdr`, at least `per_group`), ``none`` (all)
    """

    rule: str
    per_group: int
    fdr: float


def present(
    groups: Mapping[str, Sequence[str]], genes: Sequence[str], *, least_genes: int, most_groups: int
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Groups restricted to `genes`, and the groups left out with the reason.

    Raises InputError if none is left.
    """
    known, kept, left_out = set(genes), {}, {}
    for name, members in groups.items():
        here = sorted(known & set(members))
        if len(here) < max(1, least_genes):
            left_out[name] = f"{len(here)} of its {len(members)} genes are in the expression table"
        else:
            kept[name] = here
    largest = sorted(kept, key=lambda name: (-len(kept[name]), name))[:most_groups]
    left_out |= {name: "beyond survival.gene_groups.most_groups" for name in kept if name not in largest}
    if not largest:
        msg = (
            f"none of the {len(groups)} gene groups ({shorten(list(groups))}) has {max(1, least_genes)} genes "
            f"among the {len(known)} of the expression table. Do the gene names agree? Change survival.gene_groups."
        )
        raise InputError(msg)
    return {name: kept[name] for name in kept if name in largest}, left_out


def gate(
    profiles: np.ndarray, time: np.ndarray, event: np.ndarray, members: Sequence[np.ndarray], settings: GateSettings
) -> list[np.ndarray]:
    """Choose columns of each group by Welch's t-test of early deaths against long survivors.

    profiles : (patient, gene) of unique training patients, standardised; members : per group, columns of `profiles`
    Early death: an event before the median event time. Long survivor: followed beyond it. Others are not used.
    Returns per group the chosen columns, rising; never empty.
    """
    from scipy import stats  # tens of MB that prediction never needs

    if settings.rule == "none":
        return [np.sort(columns) for columns in members]
    event, time = np.asarray(event) > 0, np.asarray(time, dtype=float)
    middle = np.median(time[event])
    early, late = event & (time < middle), time >= middle
    if min(early.sum(), late.sum()) < 2:
        msg = f"the gene gate needs two early deaths and two long survivors; found {early.sum()} and {late.sum()}."
        raise InputError(msg)
    p_value = stats.ttest_ind(profiles[early], profiles[late], equal_var=False).pvalue
    p_value = np.where(np.isnan(p_value), 1.0, p_value)
    chosen = []
    for columns in members:
        order = columns[np.lexsort((columns, p_value[columns]))]
        count = min(settings.per_group, len(order))
        if settings.rule == "bh":
            q_value = stats.false_discovery_control(p_value[order])
            count = max(count, int((q_value <= settings.fdr).sum()))
        chosen.append(np.sort(order[:count]))
    return chosen


def group_columns(
    train: Patients, groups: Mapping[str, Sequence[str]] | None, *, clip: float, method: str
) -> tuple[ProfileScale, dict[str, np.ndarray]]:
    """Scale of the groups' genes on the training part, and per group its columns of the scaled profile.

    Raises InputError without groups or expression, and names a group of which no gene varies.
    """
    if groups is None or not train.has(EXPRESSION).any():
        msg = f"{method} needs inputs.expression and gene groups (survival.gene_groups) in training. Give both."
        raise InputError(msg)
    wanted = frozenset(gene for genes in groups.values() for gene in genes)
    scale = ProfileScale.fitted(
        train.expression, train.genes, train.expression_scale, n_genes=0, clip=clip, only=wanted
    )
    place = {gene: column for column, gene in enumerate(scale.genes)}
    members = {
        name: np.array([place[gene] for gene in genes if gene in place], dtype=int) for name, genes in groups.items()
    }
    empty = [name for name, columns in members.items() if not len(columns)]
    if empty:
        msg = (
            f"gene group '{empty[0]}' (of {len(empty)}) has no gene that varies in the expression of the training part."
        )
        raise InputError(msg)
    return scale, members
