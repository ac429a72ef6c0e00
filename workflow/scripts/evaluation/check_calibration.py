"""Calibration curves, D-calibration and decision curves of every model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.evaluation.calibration import CalibrationSettings, calibration_rows, d_calibration_rows
from histoweave.evaluation.decision import DecisionSettings, decision_rows, reference_rows
from histoweave.evaluation.intervals import BootstrapSettings
from histoweave.evaluation.panel import align_all, make_panel
from histoweave.evaluation.scores import ScoreSettings
from histoweave.evaluation.support import usable_horizons
from histoweave.formats.evaluation import CALIBRATION, D_CALIBRATION, DECISION
from histoweave.formats.outcomes import outcome_arguments, read_outcomes


@dataclass(frozen=True)
class Settings:
    """What this step needs of the config."""

    metrics: ScoreSettings
    bootstrap: BootstrapSettings
    calibration: CalibrationSettings
    decision: DecisionSettings


def main(argv: Sequence[str] | None) -> None:
    parser = outcome_arguments(steps.parser(__doc__))
    parser.add_argument("--calibration", type=Path, required=True, help="table to write: calibration curves")
    parser.add_argument("--d-calibration", type=Path, required=True, help="table to write: D-calibration")
    parser.add_argument("--decision", type=Path, required=True, help="table to write: net benefit")
    args = parser.parse_args(argv)
    settings = steps.settings_of(Settings, args.settings)
    given = read_outcomes(args)
    panel = make_panel(given.cohort, given.folds)
    models = align_all(panel, given.risks)
    groups, confidence = settings.calibration.groups, settings.bootstrap.confidence
    curves, spread, decisions = [CALIBRATION.empty()], [D_CALIBRATION.empty()], [DECISION.empty()]
    for model in models:
        horizons = usable_horizons(model, settings.metrics.horizons_days, min_at_risk=settings.metrics.min_at_risk)
        curves += [calibration_rows(model, day, groups=groups, confidence=confidence) for day in horizons]
        decisions += [decision_rows(model, day, settings.decision) for day in horizons]
        spread += [d_calibration_rows(model, bins=settings.calibration.bins)] if len(model.times_days) else []
    shown = sorted({day for table in curves for day in table["horizon_days"].unique()})
    decisions += [reference_rows(panel, day, settings.decision) for day in shown]
    record = steps.provenance("evaluation/check_calibration", settings=settings, seed=args.seed, inputs=given.files)
    CALIBRATION.write(pd.concat(curves, ignore_index=True), args.calibration, provenance=record)
    D_CALIBRATION.write(pd.concat(spread, ignore_index=True), args.d_calibration, provenance=record)
    DECISION.write(pd.concat(decisions, ignore_index=True), args.decision, provenance=record)


if __name__ == "__main__":
    steps.run(main)
