"""Files that say why: attributions, checks of them, predictions for new patients, heatmaps for QuPath."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from histoweave.formats.files import replacing, safe_name
from histoweave.formats.table import TableKind

ATTRIBUTIONS = TableKind(
    "attributions",
    1,
    {
        "kind": "str",
        "name": "str",
        "repeat": "int",
        "fold": "int",
        "mean": "float",
        "mean_abs": "float",
        "share": "float",
        "patients": "int",
    },
)
"""Integrated gradients of the risk per input and fold over test patients; ``kind``: tile_feature, gene, covariate, ...;
``share``: part of the sum of ``mean_abs`` over all inputs of that fold. A ``gene_group`` is no further input: its rows
are sums over genes, or over a predicted group's embedding, and groups may share genes."""

ATTRIBUTION_NULL = TableKind(
    "attribution_null",
    1,
    {
        "kind": "str",
        "name": "str",
        "mean_abs": "float",
        "null_mean": "float",
        "p_value": "float",
        "share": "float",
        "null_share": "float",
        "p_share": "float",
        "null_fits": "int",
    },
)
"""``mean_abs`` and ``share`` of the first fold against those of fits to permuted follow-up, and their means there;
``p_value`` and ``p_share``: (1 + number of null fits at or above it) / (1 + null_fits), not corrected for the number of
inputs. A model that finds nothing to learn gives all inputs small attributions, so a ``p_value`` may be small for
inputs that ride along with a signal; ``p_share`` is then not. No rows without null fits."""

CHECKS = TableKind(
    "attribution_checks",
    1,
    {"repeat": "int", "fold": "int", "check": "str", "subject": "str", "value": "float"},
)
"""``completeness``: gap as a share of the risk difference, per patient; ``group_completeness``: the same of the
integral over predicted gene groups; ``randomised_weights``: rank correlation of the
attention with that of random weights, per slide patient shown; ``stability``: rank correlation of ``mean_abs`` between
this fold and the mean of the others."""

PREDICTION = TableKind(
    "prediction",
    1,
    {
        "patient": "str",
        "risk": "float",
        "risk_lower": "float",
        "risk_upper": "float",
        "percentile": "float",
        "percentile_lower": "float",
        "percentile_upper": "float",
    },
)
"""One row per new patient: mean over the folds' models and their range; ``survival_<days>`` likewise."""

GROUP_EXPRESSION = TableKind(
    "group_expression",
    1,
    {"patient": "str", "group": "str", "value": "float", "lower": "float", "upper": "float"},
)
"""Predicted expression (z-score) of each gene group, mean over genes and folds, with the folds' range."""


def write_heatmap(path: str | Path, corners: np.ndarray, side_px: float, scores: Sequence[float], *, what: str) -> None:
    """Write tiles as GeoJSON squares that QuPath opens: one measurement `what` and a colour per tile.

    corners : (tile, 2) top left in level-0 px; side_px : side in level-0 px; scores : (tile,) 0 to 1
    """
    features = []
    for (x, y), score in zip(np.asarray(corners, dtype=float), scores, strict=True):
        ring = [[x, y], [x + side_px, y], [x + side_px, y + side_px], [x, y + side_px], [x, y]]
        red = round(255 * float(score))
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {
                    "objectType": "tile",
                    "measurements": {what: round(float(score), 6)},
                    "color": [red, 40, 255 - red],
                },
            }
        )
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def heatmap_path(folder: str | Path, slide: str) -> Path:
    """Where the heatmap of `slide` goes."""
    return Path(folder) / f"{safe_name(slide)}.geojson"
