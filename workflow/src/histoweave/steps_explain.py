"""What the explaining scripts share: tables of attention and attributions from fitted models."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from histoweave.formats.bags import SlideBags
from histoweave.formats.survival import ATTENTION
from histoweave.rng import derive_seed, generator
from histoweave.survival.attribution import (
    Attribution,
    ExplainSettings,
    attributed,
    cases,
    percentile_scores,
    randomised,
)
from histoweave.survival.interface import Fitted, Patients

INPUTS = {"expression": "gene", "gene": "gene", "alterations": "alteration"}
"""Vectors that networks take -> kind of the attribution."""


def attention_rows(
    fitted: Fitted,
    patients: Patients,
    bags: SlideBags,
    risk: pd.DataFrame,
    mine: pd.DataFrame,
    settings: ExplainSettings,
    seed: int,
) -> tuple[list[pd.DataFrame], list[dict]]:
    """Tiles of the chosen patients whom this fold tested, and the control with random weights.

    risk : out-of-fold risks of all folds, by which patients are chosen; mine : those of this fold
    """
    if not hasattr(fitted, "attention"):
        return [], []
    has_slide = dict(zip(patients.ids, patients.has("slide"), strict=True))
    with_slide = risk[risk["patient"].map(has_slide).astype(bool)]
    chosen = cases(dict(zip(with_slide["patient"], with_slide["risk"], strict=True)))
    place = {name: row for row, name in enumerate(patients.ids)}
    frames, checks = [], []
    for case, name in chosen.items():
        if name not in set(mine["patient"]):
            continue
        row = place[name]
        weights = fitted.attention(patients.subset([row]))[0]
        frames.append(tile_frame(bags, row, name, weights).assign(case=case))
        checks += _control(fitted, patients.subset([row]), name, weights, seed)
    return frames, checks


def tile_frame(bags: SlideBags, row: int, name: str, weights: np.ndarray) -> pd.DataFrame:
    """One row per tile of a patient: ``patient, slide, tile, x, y, attention``; tiles count from 0 in each slide."""
    frame = pd.DataFrame({"patient": name, "slide": bags.slide_of_tile[row], "attention": weights})
    frame["tile"] = frame.groupby("slide").cumcount()
    frame[["x", "y"]] = bags.positions[row]
    return frame


def _control(fitted: Fitted, patient: Patients, name: str, weights: np.ndarray, seed: int) -> list[dict]:
    """Rank correlation of the attention with that of the same network with random weights."""
    from dataclasses import replace

    from scipy.stats import spearmanr

    if not hasattr(fitted, "network") or len(weights) < 3:
        return []
    other = replace(fitted, network=randomised(fitted.network, derive_seed(seed, "randomised", name)))
    value = spearmanr(weights, other.attention(patient)[0]).statistic
    return [{"check": "randomised_weights", "subject": name, "value": float(value)}]


def attribution_rows(
    fitted: Fitted, patients: Patients, tested: Sequence[str], settings: ExplainSettings, *, seed: int, names: tuple
) -> tuple[list[dict], list[dict]]:
    """Mean attributions of this fold's test patients per input, and the completeness gap of each."""
    place = {name: row for row, name in enumerate(patients.ids)}
    rng = generator(seed, *names, "explained")
    chosen = sorted(rng.permutation(sorted(tested))[: settings.patients])
    part = patients.subset([place[name] for name in chosen])
    if hasattr(fitted, "coefficients"):
        values = {column: fitted.design(part)[:, i] * fitted.coefficients[i] for i, column in enumerate(fitted.columns)}
        return _summary({"column": values}, len(part)), []
    networks = fitted.networks if hasattr(fitted, "networks") else [fitted.network]
    source = fitted.source(part)
    inputs = [name for name in INPUTS if name in source.vectors]
    options = {"inputs": inputs, "steps": settings.steps, "most_tiles": settings.tiles, "rng": rng}
    found = [attributed(networks, source, row, **options) for row in range(len(part))]
    gaps = [
        {"check": "completeness", "subject": name, "value": abs(one.gap) / max(abs(one.difference), 1e-12)}
        for name, one in zip(chosen, found, strict=True)
    ]
    return _summary(_by_input(found, part, fitted), len(part)), gaps


def _by_input(found: Sequence[Attribution], part: Patients, fitted: Fitted) -> Mapping[str, Mapping[str, np.ndarray]]:
    """Kind -> name of the input -> (patient,) attribution, summed over tiles."""
    made: dict[str, dict[str, np.ndarray]] = {}
    if found and found[0].tiles is not None:
        sums = np.stack([one.tiles.sum(axis=0) for one in found])  # (patient, feature)
        made["tile_feature"] = dict(zip(part.feature_names, sums.T, strict=True))
    for name in found[0].vectors if found else ():
        values = np.stack([one.vectors[name] for one in found])
        labels = getattr(fitted, "input_names", {}).get(name) or [f"{name}_{i}" for i in range(values.shape[1])]
        made[INPUTS[name]] = dict(zip(labels, values.T, strict=True))
    return made


def _summary(made: Mapping[str, Mapping[str, np.ndarray]], patients: int) -> list[dict]:
    total = sum(np.abs(values).mean() for inputs in made.values() for values in inputs.values())
    return [
        {
            "kind": kind,
            "name": name,
            "mean": float(values.mean()),
            "mean_abs": float(np.abs(values).mean()),
            "share": float(np.abs(values).mean() / total) if total > 0 else 0.0,
            "patients": patients,
        }
        for kind, inputs in made.items()
        for name, values in inputs.items()
    ]


def stability_rows(frame: pd.DataFrame) -> list[dict]:
    """Rank correlation of each fold's mean_abs with the mean of the other folds', per kind of input."""
    rows = []
    for kind, part in frame.groupby("kind"):
        wide = part.pivot_table(index="name", columns=["repeat", "fold"], values="mean_abs").fillna(0.0)
        if wide.shape[1] < 2 or len(wide) < 3:
            continue
        for repeat, fold in wide.columns:
            others = wide.drop(columns=[(repeat, fold)]).mean(axis=1)
            value = wide[(repeat, fold)].corr(others, method="spearman")
            row = {"repeat": repeat, "fold": fold, "check": "stability", "subject": kind, "value": float(value)}
            rows.append(row)
    return rows


def mean_attention(bags: SlideBags, ids: Sequence[str], weights: list) -> pd.DataFrame:
    """Mean attention over the folds' models, every tile, one colour scale over all slides."""
    if not weights:
        return ATTENTION.empty()
    frames = [
        tile_frame(bags, row, name, np.mean([one[row] for one in weights], axis=0)) for row, name in enumerate(ids)
    ]
    scores = percentile_scores([frame["attention"].to_numpy() for frame in frames])
    joined = pd.concat([frame.assign(score=score) for frame, score in zip(frames, scores, strict=True)])
    return joined.assign(repeat=-1, fold=-1, case="new")
