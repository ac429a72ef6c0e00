"""A random survival forest on bulk expression: what trees find without a linear predictor.

Source: Ishwaran et al. 2008, "Random survival forests" (doi:10.1214/08-AOAS169), as computed by scikit-survival.

| symbol | name here | axes | meaning |
|---|---|---|---|
| H_h(t) | hazard | (leaf, time) | Nelson-Aalen cumulative hazard of the training patients in leaf h |
| M | mortality | (leaf,) | sum of H_h over the training part's event times; the risk is its mean over trees |
| S(t) | survival | (leaf, time) | Kaplan-Meier curve of a leaf, mean over trees |

Deviations: curves are kept at `_MOST_TIMES` quantiles of the times at most, so that a bundle stays small; the risk is
of all times. A bundle holds the trees as arrays, since a pickled forest could run code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from histoweave.rng import derive_seed
from histoweave.survival.cox import joined, require_events
from histoweave.survival.interface import EXPRESSION, Context, Patients, Prediction
from histoweave.survival.linear import outcome
from histoweave.survival.profiles import ProfileScale

NAME = "rsf_rna"
NEEDS_TRAIN = NEEDS_PREDICT = frozenset({EXPRESSION})
_MOST_TIMES = 256
_ARRAYS = ("roots", "feature", "threshold", "left", "right", "mortality", "survival", "times")


@dataclass(frozen=True)
class RsfSettings:
    """Genes by variance (0 = all), bound of standardised values, trees, least patients of a leaf, genes per split.

    split_genes : ``sqrt``, ``log2`` or ``all`` of the genes are tried at each split
    """

    section: ClassVar[str] = "survival.rsf_rna"
    genes: int
    clip: float
    trees: int
    least_leaf: int
    split_genes: str


Settings = RsfSettings


@dataclass(frozen=True)
class Forest:
    """All trees one after the other.

    roots : (tree,) first node of each; feature, threshold, left, right : (node,) split, -1 as feature of a leaf
    mortality : (node,); survival : (node, time), both of leaves, 0 elsewhere; times : (time,) days
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    mortality: np.ndarray
    survival: np.ndarray
    times: np.ndarray

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """(patient, tree) leaf that each patient of `x` (patient, gene) falls into."""
        x = np.asarray(x, dtype=np.float32)  # as the trees were grown
        node = np.repeat(self.roots[None], len(x), axis=0)
        rows = np.arange(len(x))[:, None]
        while (self.feature[node] >= 0).any():
            goes_left = x[rows, np.maximum(self.feature[node], 0)] <= self.threshold[node]
            node = np.where(self.feature[node] < 0, node, np.where(goes_left, self.left[node], self.right[node]))
        return node

    def predict(self, x: np.ndarray, horizons_days: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Risk (patient,) and survival (patient, horizon), means over the trees."""
        leaves = self.leaves(x)
        place = np.searchsorted(self.times, np.asarray(horizons_days, dtype=float), side="right")
        curves = np.concatenate([np.ones((len(self.survival), 1)), self.survival], axis=1)[:, place]
        return self.mortality[leaves].mean(axis=1), curves[leaves].mean(axis=1)


@dataclass(frozen=True)
class RsfFitted:
    """A forest and the scale of its genes."""

    scale: ProfileScale
    forest: Forest
    history: Sequence[Mapping] = field(default_factory=list)

    def predict(self, patients: Patients, horizons_days: Sequence[float]) -> Prediction:
        """Return risks and curves of every patient; raises InputError if one has no expression."""
        patients.require(NEEDS_PREDICT, method=NAME)
        x = self.scale(patients.expression, patients.genes, patients.expression_scale)
        return Prediction(*self.forest.predict(x, horizons_days))

    def state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Trees and scale."""
        arrays, profile = self.scale.state("genes")
        return {**arrays, **{f"forest.{name}": getattr(self.forest, name) for name in _ARRAYS}}, {"profile": profile}


def fit(train: Patients, validation: Patients, *, settings: RsfSettings, context: Context) -> RsfFitted:
    """Grow the forest on the whole outer training part; there is nothing to stop early."""
    from sksurv.ensemble import RandomSurvivalForest

    patients = joined(train, validation)
    require_events(patients, method=NAME)
    patients.require(NEEDS_TRAIN, method=NAME)
    scale = ProfileScale.fitted(
        patients.expression, patients.genes, patients.expression_scale, n_genes=settings.genes, clip=settings.clip
    )
    x = scale(patients.expression, patients.genes, patients.expression_scale)
    forest = RandomSurvivalForest(
        n_estimators=settings.trees,
        min_samples_leaf=settings.least_leaf,
        max_features=None if settings.split_genes == "all" else settings.split_genes,
        random_state=derive_seed(context.seed, *context.names, "forest") % 2**32,
    )
    return RsfFitted(scale, flattened(forest.fit(x, outcome(patients.time_days, patients.event))))


def flattened(forest: object) -> Forest:
    """Take a fitted forest of scikit-survival apart into arrays."""
    times = forest.unique_times_
    kept = np.unique(np.linspace(0, len(times) - 1, min(len(times), _MOST_TIMES)).round().astype(int))
    at_event = forest.estimators_[0].is_event_time_
    parts, roots, start = [], [], 0
    for one in forest.estimators_:
        tree = one.tree_
        leaf = tree.children_left < 0
        hazard, alive = tree.value[..., 0], tree.value[..., 1]  # (node, time)
        parts.append(
            (
                np.where(leaf, -1, tree.feature),
                tree.threshold,
                np.where(leaf, 0, tree.children_left + start),
                np.where(leaf, 0, tree.children_right + start),
                np.where(leaf, hazard[:, at_event].sum(axis=1), 0.0),
                np.where(leaf[:, None], alive[:, kept], 0.0).astype(np.float32),
            )
        )
        roots.append(start)
        start += len(leaf)
    joint = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Forest(np.array(roots), *joint, times[kept])


def restore(tensors: dict[str, np.ndarray], meta: dict) -> RsfFitted:
    """Inverse of ``state``."""
    scale = ProfileScale.restored(tensors, meta["profile"], "genes")
    return RsfFitted(scale, Forest(**{name: tensors[f"forest.{name}"] for name in _ARRAYS}))
