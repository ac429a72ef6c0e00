"""Patients with a planted risk: slide trait + one gene module + age, then follow-up with censoring.

The traits are made exactly uncorrelated within the cohort, each with mean 0 and SD 1, so that
a cohort of this size shows each effect for what it is.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from histoweave.rng import generator
from histoweave.simulate.settings import SimulateSettings

SITES = ("A", "B", "C", "D", "E", "F")
MODULES = tuple(f"module_{number}" for number in range(1, 9))
RISK_MODULE = "module_1"
ECHO_MODULE = "module_2"
SHAPE = 1.2  # Weibull shape of the time to the event
MEDIAN_DAYS = 1000.0  # typical time to the event at average risk


@dataclass(frozen=True)
class Cohort:
    """The planted truth, one row per patient.

    patients : `patient, site, time_days, event, age, sex`, what a user would have
    truth : `patient, trait, module_activity, age, linear_predictor` and one column per module, what nobody has
    """

    patients: pd.DataFrame
    truth: pd.DataFrame


def simulate_cohort(settings: SimulateSettings) -> Cohort:
    """Draw patients, their traits and their follow-up."""
    rng = generator(settings.seed, "simulate", "cohort")
    n = settings.patients
    ids = [f"P{number:03d}" for number in range(1, n + 1)]
    traits = uncorrelated(n, 2 + len(MODULES), rng=rng)  # (patient, trait)
    trait, age, activity = traits[:, 0], traits[:, 1], traits[:, 2:]
    echo = MODULES.index(ECHO_MODULE)
    activity[:, echo] = settings.trait_echo * trait + np.sqrt(1 - settings.trait_echo**2) * activity[:, echo]
    risk_module = activity[:, MODULES.index(RISK_MODULE)]
    predictor = settings.trait_effect * trait + settings.module_effect * risk_module + settings.age_effect * age
    time_days, event = follow_up(predictor, event_share=settings.event_share, rng=rng)
    years = np.clip(np.round(62 + 11 * age), 25, 95).astype(int)
    patients = pd.DataFrame(
        {
            "patient": ids,
            "time_days": time_days,
            "event": event,
            "site": rng.permutation(np.resize(SITES, n)),
            "age": years,
            "sex": rng.choice(["female", "male"], n),
        }
    )
    known = {"patient": ids, "trait": trait, "module_activity": risk_module, "age": years}
    truth = pd.DataFrame(known | {"linear_predictor": predictor} | dict(zip(MODULES, activity.T, strict=True)))
    return Cohort(patients=patients, truth=truth)


def uncorrelated(n: int, columns: int, *, rng: np.random.Generator) -> np.ndarray:
    """Normal draws (n, columns) with mean 0, SD 1 and exactly no correlation between columns."""
    draws = rng.normal(size=(n, columns))
    left, _, right = np.linalg.svd(draws - draws.mean(axis=0), full_matrices=False)
    return left @ right * np.sqrt(n)  # the orthonormal matrix nearest to the draws


def follow_up(predictor: np.ndarray, *, event_share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Times in whole days and events (1 = event) from a Weibull proportional hazards model.

    predictor : (patient,) log relative hazard. Censoring is uniform over an accrual period
    whose length is chosen so that `event_share` of the patients have their event.
    """
    n = len(predictor)
    scale = MEDIAN_DAYS / np.log(2) ** (1 / SHAPE)
    death = scale * (rng.exponential(size=n) * np.exp(-predictor)) ** (1 / SHAPE)
    entry = rng.uniform(0.1, 1.0, size=n)
    # patient i has the event when the period is at least death / entry: the quantile gives the share
    period = np.quantile(death / entry, event_share)
    event = death <= entry * period
    days = np.maximum(1, np.ceil(np.where(event, death, entry * period))).astype(int)
    return days, event.astype(int)


def permute_follow_up(patients: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Return `patients` with `time_days` and `event` dealt out anew between them: nothing can be found then."""
    order = generator(seed, "simulate", "permuted").permutation(len(patients))
    permuted = patients.copy()
    permuted[["time_days", "event"]] = patients[["time_days", "event"]].to_numpy()[order]
    return permuted
