"""Fit one survival model on every fold, and predict each fold's test patients once."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.ledger import Account
from histoweave.steps_survival import note_left_out
from histoweave.steps_training import (
    add_training,
    fit_folds,
    forget_checkpoints,
    prepared,
    tables_of_folds,
    write_trained,
)
from histoweave.survival.registry import needs_of


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    add_training(parser)
    for name in ("risk", "training", "reconstruction", "bundle", "ledger"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--fitted", type=Path, nargs="*", default=[], help="folders of folds that other jobs fitted")
    args = parser.parse_args(argv)
    account = Account("survival")
    job = prepared(args, account)
    results = fit_folds(job, args, tables_of_folds(args), fitted=args.fitted)
    for result in results:
        note_left_out(account, result.left_out, f"{args.model}/{result.repeat}/{result.fold}")
    needs = needs_of(job.module, job.settings).predict
    write_trained(args, results, needs=needs, bags=job.bags, record=job.record)
    account.write(args.ledger, provenance=job.record)
    forget_checkpoints(args)


if __name__ == "__main__":
    steps.run(main)
