"""What the explaining scripts share: tables of attention and attributions from fitted models."""

import argparse
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from histoweave.errors import InputError
from histoweave.formats.bags import SlideBags
from histoweave.formats.explained import ATTRIBUTION_NULL, ATTRIBUTIONS, CHECKS
from histoweave.formats.ledger import Account
from histoweave.formats.survival import ATTENTION, FOLDS
from histoweave.rng import derive_seed, generator
from histoweave.steps import progress, settings_of
from histoweave.steps_survival import load_groups, load_wanted
from histoweave.survival.attribution import (
    Attribution,
    ExplainSettings,
    cases,
    group_gradients,
    group_sums,
    integrated_gradients,
    mean_of,
    null_p_value,
    percentile_scores,
    permuted_follow_up,
    randomised,
)
from histoweave.survival.crossfit import fit_fold
from histoweave.survival.gene_groups import GroupSettings
from histoweave.survival.interface import Context, Fitted, Patients
from histoweave.survival.registry import picked_device

log = logging.getLogger("histoweave")
Groups = Mapping[str, Sequence[str]]
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


def add_explained(parser: argparse.ArgumentParser) -> None:
    """Arguments of what is explained, of how it was trained, for null fits, and of what is written."""
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--risk", type=Path, required=True, help="risk.parquet of the model")
    parser.add_argument("--groups", type=json.loads, required=True, help="JSON of survival.gene_groups")
    parser.add_argument("--folds", type=Path, required=True, help="folds.parquet")
    parser.add_argument("--model-settings", type=json.loads, required=True, help="JSON of the model's settings")
    parser.add_argument("--device", default="auto")
    for name in ("attention", "attributions", "null", "checks"):
        parser.add_argument(f"--{name}", type=Path, required=True)


def write_explained(
    args: argparse.Namespace,
    *,
    tiles: Sequence[pd.DataFrame],
    attributions: Sequence[Mapping],
    null: Sequence[Mapping],
    checks: Sequence[Mapping],
    record: Mapping,
) -> None:
    """Write what was found to the paths in `args`: tiles on one scale, and how much the folds agree."""
    scores = percentile_scores([part["attention"].to_numpy() for part in tiles])
    scored = [part.assign(score=score) for part, score in zip(tiles, scores, strict=True)]
    ATTENTION.write(pd.concat(scored) if scored else ATTENTION.empty(), args.attention, provenance=record)
    frame = pd.DataFrame(attributions, columns=list(ATTRIBUTIONS.columns))
    checks = [*checks, *stability_rows(frame)]
    tables = (
        (ATTRIBUTIONS, frame, args.attributions),
        (ATTRIBUTION_NULL, null, args.null),
        (CHECKS, checks, args.checks),
    )
    for kind, rows, path in tables:
        kind.write(pd.DataFrame(rows, columns=list(kind.columns)), path, provenance=record)


def explained_groups(args: argparse.Namespace, genes: Sequence[str]) -> Groups:
    """Gene groups of the config; none, with a line in the log, where the run has none of them."""
    try:
        return load_groups(args, settings_of(GroupSettings, args.groups), genes, Account("survival")) or {}
    except InputError as error:  # the model itself may need no groups
        log.warning("gene groups are not attributed: %s", error)
        return {}


def attribution_rows(
    fitted: Fitted,
    patients: Patients,
    tested: Sequence[str],
    settings: ExplainSettings,
    *,
    groups: Groups,
    seed: int,
    names: tuple,
) -> tuple[list[dict], list[dict]]:
    """Mean attributions of this fold's test patients per input and gene group, and the completeness gap of each."""
    place = {name: row for row, name in enumerate(patients.ids)}
    rng = generator(seed, *names, "explained")
    chosen = sorted(rng.permutation(sorted(tested))[: settings.patients])
    part = patients.subset([place[name] for name in chosen])
    if hasattr(fitted, "coefficients"):
        values = {column: fitted.design(part)[:, i] * fitted.coefficients[i] for i, column in enumerate(fitted.columns)}
        return _summary({"column": values}, group_sums(values, groups), len(part)), []
    networks, source, labels = explained_parts(fitted, part)
    inputs = [name for name in INPUTS if name in source.vectors]
    found, asked = [], []
    for row in range(len(part)):
        batch = source.batch([row], budget=settings.tiles, rng=rng)
        found.append(
            mean_of([integrated_gradients(one, batch, inputs=inputs, steps=settings.steps) for one in networks])
        )
        if hasattr(networks[0], "from_groups"):
            asked.append(mean_of([group_gradients(one, batch, steps=settings.steps) for one in networks]))
    gaps = _gaps("completeness", chosen, found) + _gaps("group_completeness", chosen[: len(asked)], asked)
    made = _by_input(found, part, labels)
    by_group = group_sums(made.get("gene", {}), groups)
    if asked:
        by_group = dict(zip(fitted.meta["groups"], np.stack([one.vectors["group"] for one in asked]).T, strict=True))
    return _summary(made, by_group, len(part)), gaps


def explained_parts(fitted: Fitted, part: Patients) -> tuple[Sequence, object, Mapping[str, Sequence[str]]]:
    """Networks, their batches of the patients `part`, and the names of the values in each vector that has names."""
    if hasattr(fitted, "explained"):
        return fitted.explained(part)
    return [fitted.network], fitted.source(part), fitted.input_names


def _gaps(check: str, names: Sequence[str], found: Sequence[Attribution]) -> list[dict]:
    return [
        {"check": check, "subject": name, "value": abs(one.gap) / max(abs(one.difference), 1e-12)}
        for name, one in zip(names, found, strict=True)
    ]


def _by_input(
    found: Sequence[Attribution], part: Patients, labels: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, np.ndarray]]:
    """Kind -> name of the input -> (patient,) attribution, summed over tiles; values without names: ``embedding``."""
    made: dict[str, dict[str, np.ndarray]] = {}
    if found and found[0].tiles is not None:
        sums = np.stack([one.tiles.sum(axis=0) for one in found])  # (patient, feature)
        made["tile_feature"] = dict(zip(part.feature_names, sums.T, strict=True))
    for name in found[0].vectors if found else ():
        values = np.stack([one.vectors[name] for one in found])
        own = labels.get(name)
        kind = INPUTS[name] if own else "embedding"
        own = own or [f"{name}_{i}" for i in range(values.shape[1])]
        made[kind] = dict(zip(own, values.T, strict=True))
    return made


def _summary(
    made: Mapping[str, Mapping[str, np.ndarray]], by_group: Mapping[str, np.ndarray], patients: int
) -> list[dict]:
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
        for kind, inputs in {**made, "gene_group": by_group}.items()
        for name, values in inputs.items()
    ]


def null_fits(
    args: argparse.Namespace, patients: Patients, module: ModuleType, method: str, settings: ExplainSettings
) -> Iterator[Fitted]:
    """Fit the model `settings.null_fits` times to permuted follow-up of the first fold's inner parts."""
    if not settings.null_fits:
        return
    roles = FOLDS.read(args.folds)
    roles = roles[(roles["repeat"] == 0) & (roles["fold"] == 0)]
    parts = [roles.loc[roles["role"] == role, "patient"].tolist() for role in ("train", "validation")]
    own = settings_of(module.Settings, args.model_settings)
    shared = load_wanted(args, getattr(module, "USES", frozenset()), patients.genes, Account("survival"))
    shared["device"] = picked_device(method, args.device)
    for number in progress(range(settings.null_fits), what=f"null fits of {method}"):
        names = (method, "null", str(number))
        other = permuted_follow_up(patients, parts, generator(args.seed, *names, "follow-up"))
        context = Context(args.seed, names, **shared)
        yield fit_fold(other, roles, module, settings=own, context=context, horizons_days=[1]).fitted


def null_rows(seen: Sequence[Mapping], null: Iterable[Sequence[Mapping]]) -> list[dict]:
    """Compare attributions of each input and group with what null fits give it; 0 where a null fit does not read it."""
    fits = [{(row["kind"], row["name"]): row for row in rows} for rows in null]
    made = []
    for row in seen if fits else ():
        found = {"kind": row["kind"], "name": row["name"], "null_fits": len(fits)}
        for quantity, mean, p_value in (("mean_abs", "null_mean", "p_value"), ("share", "null_share", "p_share")):
            values = [fit.get((row["kind"], row["name"]), {}).get(quantity, 0.0) for fit in fits]
            found[quantity], found[mean] = row[quantity], float(np.mean(values))
            found[p_value] = null_p_value(row[quantity], values)
        made.append(found)
    return made


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
