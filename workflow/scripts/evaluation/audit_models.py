"""Audit cohort, folds and models: roles, sites, events, follow-up, missing patients, seeds, probes for the site."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave import rng, steps
from histoweave.evaluation.audits import AuditSettings, cohort_rows, fold_rows, probe_row, repeat_rows, served_rows
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.panel import align_all, make_panel
from histoweave.evaluation.probe import probe_features, probe_risks
from histoweave.formats.evaluation import AUDITS
from histoweave.formats.outcomes import outcome_arguments, read_outcomes
from histoweave.steps_evaluation import matrices_to_probe


@dataclass(frozen=True)
class Settings:
    """What this step needs of the config."""

    bootstrap: BootstrapSettings
    audits: AuditSettings


def main(argv: Sequence[str] | None) -> None:
    parser = outcome_arguments(steps.parser(__doc__))
    parser.add_argument("--features", nargs="*", default=[], help="slides/features, to ask whether they tell the site")
    parser.add_argument("--expression", nargs="*", default=[], help="survival/expression.h5ad, for the same question")
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    args = parser.parse_args(argv)
    settings = steps.settings_of(Settings, args.settings)
    given = read_outcomes(args)
    cohort = given.cohort
    panel = make_panel(cohort, given.folds)
    models = align_all(panel, given.risks)
    rows = cohort_rows(panel, confidence=settings.bootstrap.confidence)
    rows += fold_rows(panel, given.folds, cohort.set_index("patient")["site"])
    rows += served_rows(panel, models, {name: cohort[name].to_numpy() for name in ("has_slide", "has_expression")})
    rows += repeat_rows(models)
    sites = cohort["site"].fillna("").to_numpy(str)
    chance = {"permutations": settings.audits.permutations}
    for model in models:
        chance["generator"] = rng.generator(args.seed, "evaluation", "probe", model.model)
        probed = probe_risks(model.only(np.flatnonzero(sites != "")), sites, **chance)
        rows.append(probe_row(f"risk of {model.model}", probed))
    folders = args.features if settings.audits.read_slide_features else []
    for name, matrix in matrices_to_probe(cohort, expression=args.expression, features=folders).items():
        known = np.isfinite(matrix).all(axis=1) & (sites != "")
        chance["generator"] = rng.generator(args.seed, "evaluation", "probe", name)
        rows.append(probe_row(name, probe_features(matrix[known], sites[known], **chance)))
    record = steps.provenance("evaluation/audit_models", settings=settings, seed=args.seed, inputs=given.files)
    AUDITS.write(pd.DataFrame(rows), args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
