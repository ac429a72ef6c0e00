"""Compare each model with the baselines and with configured partners, on the same patients, folds and draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from histoweave import rng, steps
from histoweave.evaluation.comparison import CompareSettings, compare_all
from histoweave.evaluation.intervals import BootstrapSettings, patient_weights
from histoweave.evaluation.panel import align_all, make_panel
from histoweave.evaluation.scores import ScoreSettings
from histoweave.formats.evaluation import COMPARISONS
from histoweave.formats.outcomes import outcome_arguments, read_outcomes


@dataclass(frozen=True)
class Settings:
    """What this step needs of the config."""

    metrics: ScoreSettings
    bootstrap: BootstrapSettings
    compare: CompareSettings


def main(argv: Sequence[str] | None) -> None:
    parser = outcome_arguments(steps.parser(__doc__))
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    args = parser.parse_args(argv)
    settings = steps.settings_of(Settings, args.settings)
    given = read_outcomes(args)
    panel = make_panel(given.cohort, given.folds)
    weights = patient_weights(
        panel.strata(), draws=settings.bootstrap.draws, generator=rng.generator(args.seed, "evaluation", "bootstrap")
    )
    table = compare_all(
        panel,
        {model.model: model for model in align_all(panel, given.risks)},
        weights,
        compare_settings=settings.compare,
        score_settings=settings.metrics,
        confidence=settings.bootstrap.confidence,
    )
    record = steps.provenance("evaluation/compare_models", settings=settings, seed=args.seed, inputs=given.files)
    COMPARISONS.write(table if len(table) else COMPARISONS.empty(), args.out, provenance=record)


if __name__ == "__main__":
    steps.run(main)
