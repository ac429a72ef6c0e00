"""Fit one survival model on every fold, and predict each fold's test patients once."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from histoweave import steps
from histoweave.formats.fold_results import FoldStore
from histoweave.formats.ledger import Account
from histoweave.formats.survival import FOLDS
from histoweave.steps_survival import add_inputs, load_patients, load_wanted, note_left_out
from histoweave.steps_training import checkpoint_folder, finished, write_trained
from histoweave.survival.crossfit import fit_fold
from histoweave.survival.interface import Context
from histoweave.survival.registry import method_module, needs_of, picked_device


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    add_inputs(parser)
    parser.add_argument("--model", required=True, help="the model's name")
    parser.add_argument("--method", required=True, help="file of the library that holds the method")
    parser.add_argument("--horizons", type=int, nargs="+", required=True, help="days")
    parser.add_argument("--groups", type=json.loads, required=True, help="JSON of survival.gene_groups")
    parser.add_argument("--device", default="auto")
    for name in ("folds", "risk", "training", "reconstruction", "bundle", "ledger"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, help="folder from which a killed job goes on; emptied at the end")
    args = parser.parse_args(argv)
    module = method_module(args.method)
    settings = steps.settings_of(module.Settings, args.settings)
    account = Account("survival")
    patients, bags = load_patients(args)
    shared = load_wanted(args, getattr(module, "USES", frozenset()), patients.genes, account)
    shared["device"] = picked_device(args.method, args.device)
    names = ("cohort", "folds", "expression", "alterations", "gene_embedding", "modules")
    inputs = {name: getattr(args, name) for name in names}
    record = steps.provenance(f"survival/train_model {args.method}", settings=settings, seed=args.seed, inputs=inputs)
    store = FoldStore(checkpoint_folder(args, record))
    if getattr(module, "RESUMES", False):  # others go on with the fold that was under way from its beginning
        shared["checkpoint_dir"] = store.folder
    results = []
    tables = [rows for _, rows in FOLDS.read(args.folds).groupby(["repeat", "fold"])]
    for roles in steps.progress(tables, what=f"folds of {args.model}"):
        number = tuple(int(roles[name].iloc[0]) for name in ("repeat", "fold"))
        where = (args.model, *map(str, number))
        own = {"settings": settings, "context": Context(args.seed, where, **shared), "horizons_days": args.horizons}
        result = finished(store, number, partial(fit_fold, patients, roles, module, **own))
        note_left_out(account, result.left_out, "/".join(where))
        results.append(result)
    write_trained(args, results, needs=needs_of(module, settings).predict, bags=bags, record=record)
    account.write(args.ledger, provenance=record)
    if args.checkpoints:
        shutil.rmtree(args.checkpoints, ignore_errors=True)


if __name__ == "__main__":
    steps.run(main)
