"""Fit one survival model on every fold, and predict each fold's test patients once."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats.bundle import FoldState, write_bundle
from histoweave.formats.ledger import Account
from histoweave.formats.survival import FOLDS, RISK, TRAINING
from histoweave.steps_survival import (
    add_inputs,
    checkpoint_folder,
    load_cells,
    load_embedding,
    load_groups,
    load_patients,
    note_left_out,
)
from histoweave.survival.crossfit import fit_fold
from histoweave.survival.gene_groups import GroupSettings
from histoweave.survival.interface import Context
from histoweave.survival.registry import method_module, needs_of, picked_device


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    add_inputs(parser)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--model", required=True, help="the model's name")
    parser.add_argument("--method", required=True, help="file of the library that holds the method")
    parser.add_argument("--horizons", type=int, nargs="+", required=True, help="days")
    parser.add_argument("--groups", type=json.loads, required=True, help="JSON of survival.gene_groups")
    parser.add_argument("--device", default="auto")
    for name in ("risk", "training", "bundle", "ledger"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, help="folder from which a killed job goes on; emptied at the end")
    args = parser.parse_args(argv)
    module = method_module(args.method)
    settings = steps.settings_of(module.Settings, args.settings)
    account = Account("survival")
    patients, bags = load_patients(args)
    wanted = getattr(module, "USES", frozenset())
    shared = {"device": picked_device(args.method, args.device)}
    if "gene_groups" in wanted:
        groups = steps.settings_of(GroupSettings, args.groups)
        shared["gene_groups"] = load_groups(args, groups, patients.genes, account)
    if "gene_embedding" in wanted:
        shared["gene_embedding"] = load_embedding(args.gene_embedding)
    if "cells" in wanted:
        shared["cells"] = load_cells(args.cells)
    names = ("cohort", "folds", "expression", "alterations", "gene_embedding", "modules")
    step, inputs = f"survival/train_model {args.method}", {name: getattr(args, name) for name in names}
    record = steps.provenance(step, settings=settings, seed=args.seed, inputs=inputs)
    if args.checkpoints and getattr(module, "RESUMES", False):
        shared["checkpoint_dir"] = checkpoint_folder(args.checkpoints, record)
    results = []
    tables = [rows for _, rows in FOLDS.read(args.folds).groupby(["repeat", "fold"])]
    for roles in steps.progress(tables, what=f"folds of {args.model}"):
        where = (args.model, str(roles["repeat"].iloc[0]), str(roles["fold"].iloc[0]))
        context = Context(args.seed, where, **shared)
        result = fit_fold(patients, roles, module, settings=settings, context=context, horizons_days=args.horizons)
        note_left_out(account, result.left_out, "/".join(where))
        results.append(result)
    RISK.write(pd.concat([r.risk for r in results], ignore_index=True), args.risk, provenance=record)
    TRAINING.write(pd.concat([r.training for r in results], ignore_index=True), args.training, provenance=record)
    header = {
        "method": args.method,
        "needs": sorted(needs_of(module, settings).predict),
        "encoder": {**bags.encoder, "features": list(bags.feature_names)} if bags else None,
        "horizons_days": args.horizons,
    }
    states = [FoldState(r.repeat, r.fold, *r.fitted.state(), r.train_risk) for r in results]
    write_bundle(args.bundle, header, states, provenance=record)
    account.write(args.ledger, provenance=record)
    if args.checkpoints:
        shutil.rmtree(args.checkpoints, ignore_errors=True)


if __name__ == "__main__":
    steps.run(main)
