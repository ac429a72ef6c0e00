"""Simulated follow-up, folds and risks with known answers, as the survival stage would write them."""

import numpy as np
import pandas as pd

GRID = (180, 365, 730, 1095)


def survival_times(generator, score, *, mean_days=1500.0, censoring_days=4000.0, grain=1.0):
    """Exponential event times with hazard exp(score), independent censoring; days rounded up to `grain`."""
    days = generator.exponential(mean_days * np.exp(-score))
    last = generator.uniform(0, censoring_days, len(score))
    return np.ceil(np.minimum(days, last) / grain) * grain, days <= last


def cohort_frame(generator, n=120, *, effect=1.0, grain=1.0):
    score = effect * generator.standard_normal(n)
    time, event = survival_times(generator, score, grain=grain)
    frame = pd.DataFrame({"patient": [f"P{i:04d}" for i in range(n)], "site": np.array(list("ABCD"))[np.arange(n) % 4]})
    frame["time_days"], frame["event"] = time, event.astype(int)
    frame["has_slide"] = frame["has_expression"] = True
    frame["slides"] = frame["patient"]
    frame["age"] = 60 + 8 * generator.standard_normal(n)
    frame["sex"] = np.array(["female", "male"])[generator.integers(2, size=n)]
    return frame, score


def folds_frame(patients, generator, *, repeats=2, folds=3):
    rows = []
    for repeat in range(repeats):
        part = generator.permutation(np.arange(len(patients)) % folds)
        for fold in range(folds):
            role = np.where(part == fold, "test", np.where((part == (fold + 1) % folds), "validation", "train"))
            rows.append(pd.DataFrame({"patient": patients, "repeat": repeat, "fold": fold, "role": role}))
    return pd.concat(rows, ignore_index=True)


def risk_frame(cohort, folds, score, generator, *, noise=0.5, grid=GRID, mean_days=1500.0):
    """Risks of a model that sees `score` with noise; its survival is exponential with that hazard."""
    test = folds[folds["role"] == "test"]
    index = pd.Series(np.arange(len(cohort)), index=cohort["patient"])[test["patient"]].to_numpy()
    frame = test[["patient", "repeat", "fold"]].reset_index(drop=True)
    frame["risk"] = score[index] + noise * generator.standard_normal(len(index))
    frame["train_median"] = 0.0
    for day in grid:
        frame[f"survival_{day}"] = np.exp(-day / mean_days * np.exp(frame["risk"]))
    return frame


def panel_of(seed=0, *, n=120, repeats=2, folds=3, models=1, noise=0.5, grain=1.0, draws=0):
    """Panel, weights (1 + draw, patient) and the aligned predictions of `models` models."""
    from histoweave.evaluation.intervals import patient_weights
    from histoweave.evaluation.panel import align, make_panel

    generator = np.random.default_rng(seed)
    cohort, score = cohort_frame(generator, n, grain=grain)
    splits = folds_frame(cohort["patient"].to_numpy(), generator, repeats=repeats, folds=folds)
    panel = make_panel(cohort, splits)
    made = [
        align(panel, risk_frame(cohort, splits, score, generator, noise=noise * (k + 1)), model=f"m{k}")
        for k in range(models)
    ]
    return panel, patient_weights(panel.strata(), draws=draws, generator=generator), made
