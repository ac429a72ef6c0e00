"""Fit one survival model on some of the folds, for the job that joins them."""

from collections.abc import Sequence
from pathlib import Path

from histoweave import steps
from histoweave.formats.fold_results import FoldStore
from histoweave.formats.ledger import Account
from histoweave.steps_training import add_training, fit_folds, forget_checkpoints, prepared, tables_of_folds


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    add_training(parser)
    parser.add_argument("--part", type=int, required=True, help="which of the jobs this is, from 0 on")
    parser.add_argument("--jobs", type=int, required=True, help="jobs that share the folds")
    parser.add_argument("--out", type=Path, required=True, help="folder of the fitted folds")
    args = parser.parse_args(argv)
    job = prepared(args, Account("survival"))
    args.out.mkdir(parents=True, exist_ok=True)
    for fold in fit_folds(job, args, tables_of_folds(args)[args.part :: args.jobs]):
        FoldStore(args.out).put(fold)
    forget_checkpoints(args)


if __name__ == "__main__":
    steps.run(main)
