"""Fit one survival model on every fold, and predict each fold's test patients once."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.ledger import Account
from histoweave.formats.survival import FOLDS
from histoweave.steps_survival import add_inputs, checkpoint_folder, load_patients, load_wanted, note_left_out
from histoweave.steps_training import write_trained
from histoweave.survival.crossfit import fit_fold
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
    wanted = load_wanted(args, getattr(module, "USES", frozenset()), patients.genes, account)
    shared = {"device": picked_device(args.method, args.device), **wanted}
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
    write_trained(args, results, needs=needs_of(module, settings).predict, bags=bags, record=record)
    account.write(args.ledger, provenance=record)
    if args.checkpoints:
        shutil.rmtree(args.checkpoints, ignore_errors=True)


if __name__ == "__main__":
    steps.run(main)
