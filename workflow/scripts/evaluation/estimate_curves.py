"""Kaplan-Meier curves of the low and high risk groups, with numbers at risk and the stratified log-rank test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.evaluation.groups import CurveSettings, curve_rows, log_rank_row
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.panel import align_all, make_panel
from histoweave.formats.evaluation import AT_RISK, KAPLAN_MEIER, LOGRANK
from histoweave.formats.outcomes import outcome_arguments, read_outcomes


@dataclass(frozen=True)
class Settings:
    """What this step needs of the config."""

    curves: CurveSettings
    bootstrap: BootstrapSettings


def main(argv: Sequence[str] | None) -> None:
    parser = outcome_arguments(steps.parser(__doc__))
    parser.add_argument("--kaplan-meier", type=Path, required=True, help="table to write: curves")
    parser.add_argument("--at-risk", type=Path, required=True, help="table to write: numbers at risk")
    parser.add_argument("--logrank", type=Path, required=True, help="table to write: tests of the groups")
    args = parser.parse_args(argv)
    settings = steps.settings_of(Settings, args.settings)
    confidence = settings.bootstrap.confidence
    given = read_outcomes(args)
    panel = make_panel(given.cohort, given.folds)
    models = align_all(panel, given.risks)
    curves, at_risk = curve_rows(panel, models, every_days=settings.curves.at_risk_every_days, confidence=confidence)
    record = steps.provenance("evaluation/estimate_curves", settings=settings, seed=args.seed, inputs=given.files)
    KAPLAN_MEIER.write(curves, args.kaplan_meier, provenance=record)
    AT_RISK.write(at_risk, args.at_risk, provenance=record)
    rows = [log_rank_row(model, confidence=confidence) for model in models]
    LOGRANK.write(pd.DataFrame(rows), args.logrank, provenance=record)


if __name__ == "__main__":
    steps.run(main)
