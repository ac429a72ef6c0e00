"""Small made-up cohorts: a tile trait and two genes drive the hazard."""

import numpy as np
import pandas as pd

from histoweave.survival.interface import Patients
from histoweave.survival.train import TrainSettings


def make_patients(n=80, *, seed=0, tiles=(3, 12), features=6, genes=8, effect=1.5, missing=()):
    """Patients whose risk is `effect` * (mean of feature 0) + gene 0 - gene 1 and age; gene 2 echoes the trait.

    missing : (index, "slide" or "expression") pairs
    """
    rng = np.random.default_rng(seed)
    trait = rng.normal(size=n)
    bags = [
        (rng.normal(size=(rng.integers(*tiles), features)) + np.eye(features)[0] * t).astype(np.float32) for t in trait
    ]
    expression = rng.normal(size=(n, genes))
    expression[:, 2] += 2 * trait
    age = rng.normal(60, 10, n)
    risk = effect * trait + expression[:, 0] - expression[:, 1] + 0.1 * (age - 60)
    time = np.ceil(rng.exponential(1.0, n) * np.exp(-risk) * 600 + 1)
    censor = np.ceil(rng.exponential(1500, n) + 1)
    for index, what in missing:
        if what == "slide":
            bags[index] = None
        else:
            expression[index] = np.nan
    return Patients(
        ids=tuple(f"P{i:03d}" for i in range(n)),
        time_days=np.minimum(time, censor),
        event=(time <= censor).astype(int),
        bags=bags,
        feature_names=tuple(f"f{i}" for i in range(features)),
        expression=expression,
        genes=tuple(f"G{i}" for i in range(genes)),
        expression_scale="zscore",
        clinical=pd.DataFrame({"age": age, "sex": rng.choice(["f", "m"], n)}),
    )


def training(**changes):
    """Short training settings."""
    values = {
        "epochs": 15, "patience": 0, "selection": "loss", "learning_rate": 0.01, "weight_decay": 0.0001,
        "clip_gradient": 1.0, "batch_patients": 32, "tiles_per_patient": 0, "tiles_in_memory": 100000,
        "sampling": "event_balanced", "mixed_precision": False,
    }  # fmt: skip
    return TrainSettings(**{**values, **changes})
