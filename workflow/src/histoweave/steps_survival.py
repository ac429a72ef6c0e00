"""What the scripts of the survival stage share: joining their input files to patients, gene groups and cells."""

import argparse
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave.errors import InputError
from histoweave.formats.bags import SlideBags, read_bags
from histoweave.formats.expression import COUNTS
from histoweave.formats.genegraph import GENE_EMBEDDING, MODULES, vectors_of
from histoweave.formats.ledger import Account
from histoweave.formats.survival import ALTERATIONS, COHORT, EXPRESSION
from histoweave.formats.text import read_gmt
from histoweave.steps import settings_of
from histoweave.survival.gene_groups import GroupSettings, present
from histoweave.survival.interface import Cells, Patients, patients_of

log = logging.getLogger("histoweave")


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Arguments of every script that trains on patients."""
    parser.add_argument("--cohort", type=Path, required=True, help="cohort.parquet")
    parser.add_argument("--features", type=Path, help="folder of the slides' feature files")
    parser.add_argument("--expression", type=Path, help="expression.h5ad of the cohort")
    parser.add_argument("--alterations", type=Path, help="alterations.h5ad of the cohort")
    parser.add_argument("--covariates", nargs="*", default=[], help="clinical columns of the cohort")
    parser.add_argument("--gene-embedding", type=Path, help="gene_embedding.parquet")
    parser.add_argument("--modules", type=Path, help="modules.parquet, for gene groups of source modules")
    parser.add_argument("--families", type=Path, help="GMT of the functional gene families")
    parser.add_argument("--cells", type=Path, nargs="*", default=[], help="counts.h5ad of annotated single cells")


def load_patients(args: argparse.Namespace) -> tuple[Patients, SlideBags | None]:
    """Patients of the cohort with what the arguments give."""
    cohort = COHORT.read(args.cohort)
    slides = [names.split() for names in cohort["slides"]]
    bags = read_bags(args.features, slides) if args.features and any(slides) else None
    expression, scale = None, ""
    if args.expression:
        data = EXPRESSION.read(args.expression)
        expression, scale = data.to_df(), str(data.uns["scale"])
    patients = patients_of(
        cohort,
        bags=bags.bags if bags else None,
        feature_names=bags.feature_names if bags else (),
        expression=expression,
        expression_scale=scale,
        alterations=ALTERATIONS.read(args.alterations).to_df() if args.alterations else None,
        covariates=args.covariates,
    )
    return patients, bags


def load_wanted(
    args: argparse.Namespace, uses: Collection[str], genes: Sequence[str], account: Account
) -> dict[str, object]:
    """What a method asks for beside patients (its ``USES``), by the names of the fields of Context."""
    given: dict[str, object] = {}
    if "gene_groups" in uses:
        given["gene_groups"] = load_groups(args, settings_of(GroupSettings, args.groups), genes, account)
    if "gene_embedding" in uses:
        given["gene_embedding"] = load_embedding(args.gene_embedding)
    if "cells" in uses:
        given["cells"] = load_cells(args.cells)
    return given


def load_embedding(path: Path | None) -> dict[str, np.ndarray] | None:
    """Gene -> vector, or None."""
    if path is None:
        return None
    frame = GENE_EMBEDDING.read(path)
    return dict(zip(frame["gene"], vectors_of(frame), strict=True))


def load_groups(
    args: argparse.Namespace, settings: GroupSettings, genes: Sequence[str], account: Account
) -> dict[str, list[str]] | None:
    """Gene groups of the config's source that the expression table has; others go to the ledger."""
    if not genes:
        return None
    if settings.source == "modules":
        if args.modules is None:
            msg = "survival.gene_groups.source is 'modules' without a gene graph: give datasets or survival.modules."
            raise InputError(msg)
        frame = MODULES.read(args.modules)
        frame = frame[frame["module"] != "none"]
        groups = {f"module_{name}": sorted(part["gene"]) for name, part in frame.groupby("module")}
    else:
        path = args.families if settings.source == "functional" else settings.path
        if path is None:
            msg = "survival.gene_groups.source is 'gmt', but survival.gene_groups.path names no file."
            raise InputError(msg)
        groups = read_gmt(path, key="survival.gene_groups.path")
    kept, left_out = present(groups, genes, least_genes=settings.least_genes, most_groups=settings.most_groups)
    account.items("gene set", settings.source, n_in=len(groups), n_out=len(kept))
    for name, reason in left_out.items():
        account.leave_out("gene set", settings.source, [name], reason)
    log.info("%d gene groups, %d left out", len(kept), len(left_out))
    return kept


def load_cells(paths: Sequence[Path]) -> Cells | None:
    """Annotated cells of all files over the genes that they share; None without annotation."""
    parts = [COUNTS.read(path) for path in paths]
    parts = [part[part.obs["cell_type"].notna().to_numpy()] for part in parts if "cell_type" in part.obs]
    if not parts:
        return None
    shared = sorted(set.intersection(*(set(part.var_names) for part in parts)))
    counts = [part[:, shared].X for part in parts]
    dense = np.concatenate([np.asarray(block.toarray() if hasattr(block, "toarray") else block) for block in counts])
    kinds = pd.concat([part.obs["cell_type"].astype(str) for part in parts])
    return Cells(dense.astype(np.float32), tuple(shared), kinds.to_numpy(str))


def note_left_out(account: Account, left_out: list, where: str) -> None:
    """Count each part's patients in and out, with the names left out."""
    for role in ("train", "validation", "test"):
        parts = [part for part in left_out if part[0] == role]
        for _, _, names, reason in parts:
            account.leave_out("patient", f"{where}/{role}", names, reason)
        if parts:
            missing = sum(len(part[2]) for part in parts)
            account.items("patient", f"{where}/{role}", n_in=parts[0][1], n_out=parts[0][1] - missing)
