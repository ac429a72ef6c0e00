"""Hazard ratios per standard deviation, added value over the clinical covariates, and performance in subgroups."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from histoweave import rng, steps
from histoweave.evaluation.hazards import HazardSettings, added_value_row, hazard_ratio_row, make_covariates
from histoweave.evaluation.intervals import BootstrapSettings, patient_weights
from histoweave.evaluation.panel import align_all, make_panel
from histoweave.evaluation.subgroups import SubgroupSettings, subgroup_levels, subgroup_rows
from histoweave.formats.evaluation import ADDED_VALUE, HAZARD_RATIOS, SUBGROUPS
from histoweave.formats.outcomes import outcome_arguments, read_outcomes


@dataclass(frozen=True)
class Settings:
    """What this step needs of the config."""

    bootstrap: BootstrapSettings
    hazards: HazardSettings
    subgroups: SubgroupSettings


def main(argv: Sequence[str] | None) -> None:
    parser = outcome_arguments(steps.parser(__doc__))
    parser.add_argument("--hazard-ratios", type=Path, required=True, help="table to write: hazard ratios")
    parser.add_argument("--added-value", type=Path, required=True, help="table to write: added value")
    parser.add_argument("--subgroups", type=Path, required=True, help="table to write: subgroups")
    args = parser.parse_args(argv)
    settings = steps.settings_of(Settings, args.settings)
    given = read_outcomes(args)
    panel = make_panel(given.cohort, given.folds)
    models = align_all(panel, given.risks)
    bootstrap, confidence = settings.bootstrap, settings.bootstrap.confidence
    weights = patient_weights(
        panel.strata(), draws=bootstrap.draws, generator=rng.generator(args.seed, "evaluation", "bootstrap")
    )
    covariates = make_covariates(given.cohort[given.covariates], settings.hazards.adjust_for)
    levels = subgroup_levels(given.cohort, given.covariates, age_bands=settings.subgroups.age_bands)
    adjustments = [None, covariates] if covariates.names else [None]
    ratios = [hazard_ratio_row(panel, model, c, confidence=confidence) for model in models for c in adjustments]
    added = [added_value_row(panel, model, covariates, weights, settings=bootstrap) for model in models]
    groups = [SUBGROUPS.empty()]
    for model in steps.progress(models, what="subgroups of models"):
        groups.append(subgroup_rows(panel, model, levels, weights, settings=settings.subgroups, bootstrap=bootstrap))
    record = steps.provenance("evaluation/estimate_hazards", settings=settings, seed=args.seed, inputs=given.files)
    HAZARD_RATIOS.write(pd.DataFrame(ratios), args.hazard_ratios, provenance=record)
    ADDED_VALUE.write(pd.DataFrame(added), args.added_value, provenance=record)
    SUBGROUPS.write(pd.concat(groups, ignore_index=True), args.subgroups, provenance=record)


if __name__ == "__main__":
    steps.run(main)
