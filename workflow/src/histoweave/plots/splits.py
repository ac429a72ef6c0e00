"""Which patient plays which role in which fold."""

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from histoweave.errors import counted
from histoweave.plots.style import COLOURS, PALE, describe, figure_of

ROLES = ("train", "validation", "test")
_SHADES = (PALE, COLOURS[5], COLOURS[1])


@figure_of
def fold_roles(folds: pd.DataFrame) -> Figure:
    """One row per patient (grouped by site), one column per fold, coloured by role; white where a fold lacks a patient.

    folds : one row per patient and fold with ``patient``, ``repeat``, ``fold``, ``role`` (train, validation, test)
        and ``site``
    """
    folds = folds.assign(code=folds["role"].map({role: code for code, role in enumerate(ROLES)}))
    grid = folds.pivot_table(index=["site", "patient"], columns=["repeat", "fold"], values="code").sort_index()
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid, aspect="auto", interpolation="nearest", cmap=ListedColormap(_SHADES), vmin=-0.5, vmax=2.5)
    axes.set_xlabel("fold (a line starts each repeat)")
    axes.set_xticks(range(grid.shape[1]), [f"{fold}" for _, fold in grid.columns], fontsize=7)
    repeats = np.array([repeat for repeat, _ in grid.columns])
    for place in np.flatnonzero(np.diff(repeats)) + 0.5:
        axes.axvline(place, color="black", linewidth=0.8)
    _mark_sites(axes, grid)
    handles = [Patch(color=shade, label=role) for role, shade in zip(ROLES, _SHADES, strict=True)]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    sites = grid.index.get_level_values(0).nunique()
    text = (
        f"Roles of {len(grid)} patients from {counted(sites, 'site')} in {grid.shape[1]} folds of"
        f" {counted(len(set(repeats)), 'repeat')}; each patient has one role in a fold."
    )
    return describe(figure, text)


def _mark_sites(axes: object, grid: pd.DataFrame) -> None:
    sizes = grid.groupby(level=0).size()
    ends = sizes.cumsum()
    middles = ends - sizes / 2 - 0.5
    shown = sizes >= max(1, 0.03 * sizes.sum())
    axes.set_yticks(middles[shown], [f"{site} ({sizes[site]})" for site in sizes.index[shown]], fontsize=7)
    axes.set_ylabel("patients by site (number)")
    for end in ends.iloc[:-1]:
        axes.axhline(end - 0.5, color="white", linewidth=1)
