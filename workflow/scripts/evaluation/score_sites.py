"""Score models that were trained anew without each site, on the site that they have not seen."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import rng, steps
from histoweave.evaluation.intervals import patient_weights
from histoweave.evaluation.panel import align_all, make_panel, missing
from histoweave.evaluation.sites import site_table
from histoweave.evaluation.summary import AssessSettings
from histoweave.formats.evaluation import SITES
from histoweave.formats.ledger import Account
from histoweave.formats.outcomes import outcome_arguments, read_outcomes


def main(argv: Sequence[str] | None) -> None:
    parser = outcome_arguments(steps.parser(__doc__))
    parser.add_argument("--out", type=Path, required=True, help="table to write: metrics at each site")
    parser.add_argument("--ledger", type=Path, required=True, help="ledger part to write")
    args = parser.parse_args(argv)
    settings = steps.settings_of(AssessSettings, args.settings)
    given = read_outcomes(args)
    panel = make_panel(given.cohort, given.folds)
    sites = [given.cohort["site"].iloc[fold.patients[0]] for fold in panel.folds]
    generator = rng.generator(args.seed, "evaluation", "bootstrap", "sites")
    weights = patient_weights(panel.strata(), draws=settings.bootstrap.draws, generator=generator)
    account, tables = Account("evaluation"), []
    tested = int((panel.strata() >= 0).sum())
    for model in steps.progress(align_all(panel, given.risks), what="models"):
        tables.append(site_table(panel, model, sites, weights, settings))
        lost, context = missing(panel, model), f"one site out: {model.model}"
        account.items("patient", context, n_in=tested, n_out=tested - len(lost))
        account.leave_out("patient", context, lost, "the model made no prediction for this test patient")
    record = steps.provenance("evaluation/score_sites", settings=settings, seed=args.seed, inputs=given.files)
    SITES.write(pd.concat(tables, ignore_index=True), args.out, provenance=record)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
