"""What auditing reads beside risks: numbers per patient that may tell the site."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave import steps
from histoweave.formats.outcomes import expression_of, mean_tile_features


def matrices_to_probe(
    cohort: pd.DataFrame, *, expression: Sequence[str | Path], features: Sequence[str | Path]
) -> dict[str, np.ndarray]:
    """What is probed -> (patient, number), in the cohort's order; nothing for what has no path."""
    found = {}
    for path in expression:
        found["expression"] = expression_of(path, cohort["patient"])
    for folder in features:
        slides = steps.progress(cohort["slides"].str.split(), what="patients' slides")
        found["slide features"] = mean_tile_features(folder, slides)
    return found
