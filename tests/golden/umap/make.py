"""Make the golden numbers of this folder (needs umap-learn; not run by the tests)."""

from pathlib import Path

import numpy as np
from sklearn.neighbors import NearestNeighbors
from umap.umap_ import fuzzy_simplicial_set

rng = np.random.default_rng(0)
points = np.round(np.concatenate([rng.normal(0, 1, (40, 5)), rng.normal(2, 1, (30, 5))]), 4).astype(np.float32)
distances, found = NearestNeighbors(n_neighbors=15, algorithm="brute").fit(points).kneighbors(points)
graph = fuzzy_simplicial_set(
    points,
    n_neighbors=15,
    random_state=0,
    metric="euclidean",
    knn_indices=found,
    knn_dists=distances.astype(np.float32),
)[0].tocoo()
here = Path(__file__).parent
np.savetxt(here / "points.csv", points, delimiter=",", fmt="%.4f")
np.savetxt(here / "weights.csv", np.c_[graph.row, graph.col, graph.data], delimiter=",", fmt=["%d", "%d", "%.7f"])
