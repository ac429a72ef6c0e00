"""Score predictions for external cohorts, with everything frozen from training."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import rng, steps
from histoweave.evaluation.external import ExternalSettings, external_panel, external_predictions, validate
from histoweave.evaluation.intervals import patient_weights
from histoweave.evaluation.panel import missing
from histoweave.formats import evaluation
from histoweave.formats.ledger import Account
from histoweave.formats.outcomes import read_external
from histoweave.formats.survival import COHORT

KINDS = {
    "metrics": evaluation.EXTERNAL,
    "calibration": evaluation.EXTERNAL_CALIBRATION,
    "comparisons": evaluation.EXTERNAL_COMPARISONS,
    "curves": evaluation.EXTERNAL_CURVES,
    "at_risk": evaluation.EXTERNAL_AT_RISK,
}


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--cohort", type=Path, required=True, help="survival/cohort.parquet of the training")
    parser.add_argument("--names", nargs="+", required=True, help="external cohort of each prediction")
    parser.add_argument("--models", nargs="+", required=True, help="model of each prediction")
    parser.add_argument("--predictions", type=Path, nargs="+", required=True, help="the predictions' tables")
    parser.add_argument("--patients", type=Path, nargs="+", required=True, help="patients table of each")
    for name in (*KINDS, "ledger"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, help="table to write")
    args = parser.parse_args(argv)
    settings = steps.settings_of(ExternalSettings, args.settings)
    training, account = COHORT.read(args.cohort), Account("evaluation")
    tables = {name: [kind.empty()] for name, kind in KINDS.items()}
    cohorts = read_external(zip(args.names, args.models, args.predictions, args.patients, strict=True))
    for name, (patients, predictions) in steps.progress(cohorts.items(), what="cohorts"):
        panel = external_panel(patients, training)
        models = {model: external_predictions(panel, rows, model=model) for model, rows in predictions.items()}
        generator = rng.generator(args.seed, "evaluation", "external", name)
        weights = patient_weights(panel.strata(), draws=settings.bootstrap.draws, generator=generator)
        for kind, table in validate(panel, models, weights, settings).items():
            tables[kind] += [table.assign(cohort=name)] if len(table) else []
        for model, predicted in models.items():
            lost, context = missing(panel, predicted), f"{name}: {model}"
            account.items("patient", context, n_in=len(panel.names), n_out=len(panel.names) - len(lost))
            account.leave_out("patient", context, lost, "no prediction for this patient")
    files = {"cohort": args.cohort, "predictions": args.predictions, "patients": args.patients}
    record = steps.provenance("evaluation/validate_models", settings=settings, seed=args.seed, inputs=files)
    for name, kind in KINDS.items():
        kind.write(pd.concat(tables[name], ignore_index=True), getattr(args, name), provenance=record)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
