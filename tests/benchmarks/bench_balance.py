"""Does balancing help the weaker branch? The demo cohort, its slides replaced by tiles that tell the outcome loudly.

The slide branch is made dominant (tiles carry the planted risk with little noise); RNA is as simulated. For every rule
the c-index of the RNA branch's own risk on the test folds, less that of `none`, paired over seeds.

Usage: PYTHONPATH=workflow/src OMP_NUM_THREADS=1 python tests/benchmarks/bench_balance.py [seeds]
"""

import sys
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from bench_path_gptomic import ROOT, settings
from scipy import stats

from histoweave.rng import generator
from histoweave.survival import path_gptomic
from histoweave.survival.concordance import concordance
from histoweave.survival.interface import Context, Patients
from histoweave.survival.modulation import RULES

_FOLDS, _TILES, _FEATURES = 5, 20, 32


def demo_cohort(folder: Path) -> Patients:
    """Patients of the demo that have RNA, with tiles made from the planted risk."""
    people = pd.read_csv(ROOT / "config" / "demo" / "patients.tsv", sep="\t")
    truth = pd.read_parquet(folder / "truth" / "patients.parquet").set_index("patient")
    rna = ad.read_h5ad(folder / "expression.h5ad")
    people = people[people["patient"].isin(rna.obs_names)].reset_index(drop=True)
    loud = truth.loc[people["patient"], "linear_predictor"].to_numpy()
    rng = generator(0, "tiles")
    mixing = rng.normal(size=(4, _FEATURES))
    latent = rng.normal(size=(len(people), _TILES, 4))
    latent[:, :, 0] += 2 * loud[:, None]
    tiles = latent @ mixing + rng.normal(size=(len(people), _TILES, _FEATURES))
    values = rna[people["patient"].to_numpy()].X
    return Patients(
        ids=tuple(people["patient"]),
        time_days=people["time_days"].to_numpy(float),
        event=people["event"].to_numpy(int),
        bags=list(tiles.astype(np.float32)),
        feature_names=tuple(f"f{k}" for k in range(_FEATURES)),
        expression=np.asarray(values.todense() if hasattr(values, "todense") else values, dtype=float),
        genes=tuple(rna.var_names),
        expression_scale="counts",
        clinical=pd.DataFrame(index=range(len(people))),
    )


def folds_of(event: np.ndarray, seed: int) -> np.ndarray:
    """Fold of each patient, balanced on events."""
    order = np.lexsort((generator(seed, "folds").random(len(event)), event))
    fold = np.empty(len(event), dtype=int)
    fold[order] = np.arange(len(event)) % _FOLDS
    return fold


def c_indices(cohort: Patients, rule: str, seed: int) -> dict[str, float]:
    """Mean test c-index of the fused risk and of each branch's own."""
    own = settings(members=1)
    own = replace(own, balance=replace(own.balance, rule=rule), encoder=replace(own.encoder, kind="raw"))
    fold = folds_of(cohort.event, seed)
    found: dict[str, list[float]] = {"fused": [], "gene": [], "slide": []}
    for test in range(_FOLDS):
        parts = [
            cohort.subset(where)
            for where in ((fold != test) & (fold != (test + 1) % _FOLDS), fold == (test + 1) % _FOLDS, fold == test)
        ]
        context = Context(seed=seed, names=("balance", str(test)))
        risks = path_gptomic.fit(*parts[:2], settings=own, context=context).predict(parts[2], [365.0])
        named = {"fused": risks.risk, "gene": risks.more["risk_gene"], "slide": risks.more["risk_slide"]}
        for name, risk in named.items():
            found[name].append(concordance(parts[2].time_days, parts[2].event, risk))
    return {name: float(np.mean(values)) for name, values in found.items()}


def main(seeds: int) -> None:
    """Print one line per rule."""
    cohort = demo_cohort(ROOT / "demo-data")
    rows = {rule: pd.DataFrame([c_indices(cohort, rule, seed) for seed in range(seeds)]) for rule in RULES}
    for rule, row in rows.items():
        gain = row - rows["none"]
        half = stats.t.ppf(0.975, seeds - 1) * gain.std(ddof=1) / np.sqrt(seeds)
        text = ", ".join(f"{name} {row[name].mean():.3f} ({gain[name].mean():+.3f} ± {half[name]:.3f})" for name in row)
        print(f"{rule:12s} {text}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
