"""Splitting patients: outer folds for testing, an inner validation part for tuning; nobody has two roles in a fold.

Whole sites go to one fold by default, since a slide betrays its site (Howard et al. 2021,
doi:10.1038/s41467-021-24698-1); sites are dealt out so that folds hold about equally many events and patients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from histoweave.errors import InputError, shorten
from histoweave.rng import generator

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_TRIES = 200


@dataclass(frozen=True)
class FoldSettings:
    """How patients are split.

    scheme : ``site_preserved``, ``one_site_out`` (each site a fold), ``stratified`` (by event) or ``given`` (the file
        under `given`)
    folds, repeats : outer folds, and how often everything is split anew; one_site_out has one repeat
    validation_share : share of each outer training part that tunes and stops (stratified by event)
    least_train_events : an outer training part with fewer events is refused
    """

    section: ClassVar[str] = "survival.folds"
    scheme: str
    folds: int
    repeats: int
    validation_share: float
    least_train_events: int
    given: str | None


@dataclass(frozen=True)
class SiteSettings:
    """Leave-one-site-out beside the folds: `models` are trained anew without each site of `least_events` or more."""

    section: ClassVar[str] = "survival.one_site_out"
    models: tuple[str, ...]
    least_events: int


def split(cohort: pd.DataFrame, *, settings: FoldSettings, seed: int, given: pd.DataFrame | None) -> pd.DataFrame:
    """Role of each patient in each repeat and fold: ``patient, repeat, fold, role``.

    cohort : ``patient, site, time_days, event``; given : ``patient, repeat, fold, role`` of the scheme ``given``
    """
    if settings.scheme == "given":
        parts = _given_parts(cohort, given)
    elif settings.scheme == "one_site_out":
        return without_each_site(cohort, settings=settings, seed=seed, least_events=0)
    else:
        parts = [
            (repeat, fold, assigned == fold)
            for repeat in range(settings.repeats)
            for assigned in [_assign(cohort, settings, generator(seed, "folds", repeat))]
            for fold in range(settings.folds)
        ]
    return _with_roles(cohort, parts, settings, lambda repeat, fold: generator(seed, "validation", repeat, fold))


def without_each_site(cohort: pd.DataFrame, *, settings: FoldSettings, seed: int, least_events: int) -> pd.DataFrame:
    """One fold per site with `least_events` or more, in the order of their names; the fold tests that site alone.

    cohort : ``patient, site, event``. Returns ``patient, repeat, fold, role``; raises InputError for fewer than two
    sites.
    """
    events = cohort.groupby("site")["event"].sum().sort_index()
    names = list(events.index[events >= least_events])
    if len(events) < 2 or not names:
        msg = (
            f"no site can be left out: {len(events)} site(s), {len(names)} of them with {least_events} or more events. "
            "Fill the column 'site', lower survival.one_site_out.least_events, or take other folds."
        )
        raise InputError(msg)
    parts = [(0, fold, (cohort["site"] == name).to_numpy()) for fold, name in enumerate(names)]
    return _with_roles(cohort, parts, settings, lambda _, fold: generator(seed, "validation", "site", names[fold]))


def hold_out(cohort: pd.DataFrame, test: np.ndarray, *, settings: FoldSettings, seed: int) -> pd.DataFrame:
    """One fold that tests the patients where `test` (patient,) is true and is trained on all others."""
    return _with_roles(cohort, [(0, 0, test)], settings, lambda *_: generator(seed, "validation", "external"))


def _with_roles(
    cohort: pd.DataFrame,
    parts: list[tuple],
    settings: FoldSettings,
    rng_of: Callable[[int, int], np.random.Generator],
) -> pd.DataFrame:
    """Table of roles of all `parts`: (repeat, fold, masks of the roles)."""
    frames = []
    for repeat, fold, *masks in parts:
        rng = rng_of(repeat, fold)
        roles = _roles(cohort, masks, settings, rng)
        _check_part(cohort, roles, repeat, fold, settings)
        frames.append(pd.DataFrame({"patient": cohort["patient"], "repeat": repeat, "fold": fold, "role": roles}))
    table = pd.concat(frames, ignore_index=True)
    return table[table["role"] != ""].reset_index(drop=True)


def _assign(cohort: pd.DataFrame, settings: FoldSettings, rng: np.random.Generator) -> np.ndarray:
    event = cohort["event"].to_numpy()
    if settings.folds > len(cohort):
        msg = f"survival.folds.folds is {settings.folds}, but there are {len(cohort)} patients. Lower it."
        raise InputError(msg)
    if settings.scheme == "stratified":
        return stratified(event, settings.folds, rng)
    return site_preserved(cohort["site"].to_numpy(), event, settings.folds, rng)


def stratified(event: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold (patient,) of each patient, events and censored patients dealt out apart."""
    assigned = np.empty(len(event), dtype=int)
    start = 0
    for kind in (1, 0):
        members = rng.permutation(np.flatnonzero(event == kind))
        assigned[members] = (start + np.arange(len(members))) % folds
        start += len(members)
    return assigned


def site_preserved(sites: np.ndarray, event: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold (patient,) of each patient, whole sites together.

    Sites are dealt out greedily, largest first with random ties; of many random orders the one with the
    most equal events and patients per fold is taken.
    """
    names, index = np.unique(sites, return_inverse=True)
    if len(names) < folds:
        msg = (
            f"{len(names)} site(s) cannot make {folds} site-preserved folds (sites: {shorten(list(map(str, names)))}). "
            "Lower survival.folds.folds, fill the column 'site', or set survival.folds.scheme to 'stratified'."
        )
        raise InputError(msg)
    load = np.stack([np.bincount(index, event), np.bincount(index)], axis=1)  # (site, [events, patients])
    load = load / np.maximum(load.sum(axis=0), 1)
    best, best_cost = None, np.inf
    for _ in range(_TRIES):
        order = np.argsort(-load[:, 0] * rng.uniform(0.5, 1.5, len(names)), kind="stable")
        fold_of, total = _deal(order, load, folds)
        cost = float(((total - 1 / folds) ** 2).sum())
        if cost < best_cost - 1e-12:
            best, best_cost = fold_of, cost
    return best[index]


def _deal(order: np.ndarray, load: np.ndarray, folds: int) -> tuple[np.ndarray, np.ndarray]:
    """Give each site in `order` to the fold with the least load; no fold stays empty."""
    fold_of, total = np.zeros(len(order), dtype=int), np.zeros((folds, 2))
    for place, site in enumerate(order):
        empty = np.flatnonzero(total[:, 1] == 0)
        must = len(order) - place <= len(empty)
        fold = empty[0] if must and len(empty) else int(np.argmin(total.sum(axis=1)))
        fold_of[site] = fold
        total[fold] += load[site]
    return fold_of, total


def _given_parts(cohort: pd.DataFrame, given: pd.DataFrame | None) -> list[tuple]:
    if given is None:
        msg = "survival.folds.scheme is 'given', but survival.folds.given names no file."
        raise InputError(msg)
    wrong = sorted(set(given["role"]) - {TRAIN, VALIDATION, TEST})
    if wrong:
        msg = f"survival.folds.given: unknown roles {shorten(wrong)}; use train, validation and test."
        raise InputError(msg)
    if given.duplicated(["patient", "repeat", "fold"]).any():
        twice = given[given.duplicated(["patient", "repeat", "fold"])].iloc[0]
        msg = f"survival.folds.given: patient '{twice['patient']}' has two roles in fold {twice['fold']}. Keep one."
        raise InputError(msg)
    parts = []
    for (repeat, fold), rows in given.groupby(["repeat", "fold"]):
        role = cohort["patient"].map(rows.set_index("patient")["role"]).to_numpy()
        parts.append((int(repeat), int(fold), role == TEST, role == TRAIN, role == VALIDATION))
    return parts


def _roles(cohort: pd.DataFrame, masks: list, settings: FoldSettings, rng: np.random.Generator) -> np.ndarray:
    """Role (patient,) from the test mask (and the given train and validation masks); '' = in no part."""
    test = masks[0]
    train = masks[1] if len(masks) > 1 else ~test
    validation = masks[2] if len(masks) > 1 else np.zeros_like(test)
    if not validation.any():
        members = np.flatnonzero(train)
        count = max(2, round(1 / settings.validation_share))
        chosen = members[stratified(cohort["event"].to_numpy()[members], count, rng) == 0]
        validation = np.isin(np.arange(len(test)), chosen)
        train = train & ~validation
    return np.select([test, validation, train], [TEST, VALIDATION, TRAIN], default="")


def _check_part(cohort: pd.DataFrame, roles: np.ndarray, repeat: int, fold: int, settings: FoldSettings) -> None:
    where = f"repeat {repeat}, fold {fold}"
    for role in (TRAIN, VALIDATION, TEST):
        if not (roles == role).any():
            msg = f"{where}: no patient has the role '{role}'. Change survival.folds."
            raise InputError(msg)
    outer = np.isin(roles, [TRAIN, VALIDATION])
    events = int(cohort["event"].to_numpy()[outer].sum())
    if events < settings.least_train_events:
        msg = (
            f"{where}: the training part has {events} events in {int(outer.sum())} patients, fewer than "
            f"survival.folds.least_train_events = {settings.least_train_events}. A model from so few says little; "
            "use more patients or another endpoint, or lower that key knowingly."
        )
        raise InputError(msg)
