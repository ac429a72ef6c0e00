"""Score every model on the test folds: metrics with bootstrap intervals, by fold and by draw."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from histoweave import rng, steps
from histoweave.evaluation.intervals import patient_weights
from histoweave.evaluation.panel import align_all, make_panel, missing
from histoweave.evaluation.summary import (
    AssessSettings,
    assess,
    draw_rows,
    fold_rows,
    metric_rows,
    reference_predictions,
)
from histoweave.formats.evaluation import DRAWS, FOLD_METRICS, METRICS
from histoweave.formats.ledger import Account
from histoweave.formats.outcomes import outcome_arguments, read_outcomes


def main(argv: Sequence[str] | None) -> None:
    parser = outcome_arguments(steps.parser(__doc__))
    parser.add_argument("--metrics", type=Path, required=True, help="table to write: metrics")
    parser.add_argument("--fold-metrics", type=Path, required=True, help="table to write: metrics by fold")
    parser.add_argument("--draws", type=Path, required=True, help="table to write: bootstrap draws")
    parser.add_argument("--ledger", type=Path, required=True, help="ledger part to write")
    args = parser.parse_args(argv)
    settings = steps.settings_of(AssessSettings, args.settings)
    given = read_outcomes(args)
    panel = make_panel(given.cohort, given.folds)
    models = align_all(panel, given.risks)
    weights = patient_weights(
        panel.strata(), draws=settings.bootstrap.draws, generator=rng.generator(args.seed, "evaluation", "bootstrap")
    )
    with ThreadPoolExecutor(args.threads) as pool:
        work = [reference_predictions(panel, models[0].times_days), *models]
        jobs = pool.map(lambda model: assess(model, weights, settings), work)
        done = list(steps.progress(jobs, total=len(work), what="models"))
    account = Account("evaluation")
    tested = int((panel.strata() >= 0).sum())
    for model in models:
        left_out = missing(panel, model)
        account.items("patient", model.model, n_in=tested, n_out=tested - len(left_out))
        account.leave_out("patient", model.model, left_out, "the model made no prediction for this test patient")
    record = steps.provenance("evaluation/score_models", settings=settings, seed=args.seed, inputs=given.files)
    tables = [metric_rows(panel, model, settings=settings.bootstrap) for model in done]
    METRICS.write(pd.concat(tables, ignore_index=True), args.metrics, provenance=record)
    FOLD_METRICS.write(pd.concat(map(fold_rows, done[1:]), ignore_index=True), args.fold_metrics, provenance=record)
    DRAWS.write(pd.concat(map(draw_rows, done[1:]), ignore_index=True), args.draws, provenance=record)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
