"""Score predictions for external cohorts, with everything frozen from training."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import rng, steps
from histoweave.evaluation.calibration import calibration_rows
from histoweave.evaluation.external import external_panel, external_predictions, group_metrics
from histoweave.evaluation.intervals import patient_weights
from histoweave.evaluation.panel import missing
from histoweave.evaluation.summary import AssessSettings, assess, metric_rows, reference_predictions
from histoweave.evaluation.support import usable_horizons
from histoweave.formats.evaluation import EXTERNAL, EXTERNAL_CALIBRATION
from histoweave.formats.ledger import Account
from histoweave.formats.outcomes import read_follow_up, read_prediction
from histoweave.formats.survival import COHORT


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--cohort", type=Path, required=True, help="survival/cohort.parquet of the training")
    parser.add_argument("--names", nargs="+", required=True, help="names of the external cohorts")
    parser.add_argument("--models", nargs="+", required=True, help="model of each cohort's prediction")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="predict/risk.parquet of each")
    parser.add_argument("--patients", type=Path, nargs="+", required=True, help="patients table of each")
    for name in ("metrics", "calibration", "ledger"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="table to write")
    args = parser.parse_args(argv)
    settings = steps.settings_of(AssessSettings, args.settings)
    training, account = COHORT.read(args.cohort), Account("evaluation")
    rows, curves = [], [EXTERNAL_CALIBRATION.empty()]
    for name, model, path, table in zip(args.names, args.models, args.predictions, args.patients, strict=True):
        panel = external_panel(read_follow_up(table), training)
        predicted = external_predictions(panel, read_prediction(path), model=model)
        generator = rng.generator(args.seed, "evaluation", "external", name)
        weights = patient_weights(panel.strata(), draws=settings.bootstrap.draws, generator=generator)
        for scored in (reference_predictions(panel, predicted.times_days), predicted):
            done = assess(scored, weights, settings)
            rows.append(metric_rows(panel, done, settings=settings.bootstrap).assign(cohort=name))
        confidence = settings.bootstrap.confidence
        rows.append(group_metrics(panel, predicted, confidence=confidence).assign(cohort=name))
        options = {"groups": settings.calibration.groups, "confidence": confidence}
        for day in usable_horizons(predicted, settings.metrics.horizons_days, min_at_risk=settings.metrics.min_at_risk):
            curves.append(calibration_rows(predicted, day, **options).assign(cohort=name))
        lost = missing(panel, predicted)
        account.items("patient", name, n_in=len(panel.names), n_out=len(panel.names) - len(lost))
        account.leave_out("patient", name, lost, "no prediction for this patient")
    files = {"cohort": args.cohort, "predictions": args.predictions, "patients": args.patients}
    record = steps.provenance("evaluation/validate_models", settings=settings, seed=args.seed, inputs=files)
    EXTERNAL.write(pd.concat(rows, ignore_index=True), args.metrics, provenance=record)
    EXTERNAL_CALIBRATION.write(pd.concat(curves, ignore_index=True), args.calibration, provenance=record)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
