"""What are G-HANet's parts worth on the demo cohort, where slides do tell of genes? Versions of it, paired over seeds.

Needs a finished demo (`results/`). Each seed splits the folds anew and draws other weights; all versions share both.
For every version: Harrell's c of the out-of-fold risks (slides alone), the correlation between the expression of the
gene group that morphology was planted to echo, read off test slides, and the patient's own (`r`; folds pooled by
Fisher's z), and the paired gain of the whole model.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow/src python tests/benchmarks/bench_ablations.py results ablations.jsonl 5

Lines already in the file are not computed again.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from bench_permuted import c_index, config, script
from scipy import stats

VERSIONS = {
    "ghanet": {"method": "ghanet", "set": {}},
    "reconstruction_0": {"method": "ghanet", "set": {"reconstruction_weight": 0}},
    "permuted_genomics": {"method": "ghanet", "set": {"permute_genomics": True}},
    "no_hyper_attention": {"method": "ghanet", "set": {"hyper_attention": False}},
    "abmil_wsi": {"method": "abmil_wsi", "set": {}},
}


def split(results: Path, folder: Path, seed: int, settings: dict) -> None:
    """Write the cohort as it is and folds of this seed."""
    from histoweave.formats.survival import COHORT

    COHORT.write(COHORT.read(results / "survival/cohort.parquet"), folder / "cohort.parquet", provenance={})
    words = ("--cohort", folder / "cohort.parquet", "--settings", json.dumps(settings["folds"]), "--seed", seed)
    script("split_folds")(*words, "--out", folder / "folds.parquet")


def echoed(results: Path) -> str:
    """Name of the gene group that holds most genes of the planted module that echoes the slides' trait."""
    from histoweave.simulate.cohort import ECHO_MODULE

    truth = pd.read_parquet(results.parent / "demo-data/truth/genes.parquet")
    found = pd.read_parquet(results / "genegraph/modules.parquet")
    genes = truth.loc[truth["module"] == ECHO_MODULE, "gene"]
    return f"module_{found.loc[found['gene'].isin(genes), 'module'].mode()[0]}"


def correlation(path: Path, group: str) -> float:
    """Correlation of one group, folds pooled; NaN for a model that reads no expression off slides."""
    rows = pd.read_parquet(path)
    rows = rows[rows["group"] == group]
    if not len(rows):
        return float("nan")
    return float(np.tanh(np.average(np.arctanh(rows["r_group"]), weights=rows["patients"] - 3)))


def main(results: Path, file: Path, seeds: int) -> None:
    """Compute what the file lacks, then print the table."""
    settings = config()["survival"]
    settings["models"] = VERSIONS
    group = echoed(results)
    file.touch()
    done = {(row["seed"], row["model"]) for row in map(json.loads, file.read_text().splitlines())}
    for seed in range(seeds):
        wanted = [model for model in VERSIONS if (seed, model) not in done]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            split(results, folder, seed, settings)
            for model in wanted:
                row = {"seed": seed, "model": model, "c": c_index(results, folder, model, settings, seed)}
                row["r"] = correlation(folder / model / "reconstruction.parquet", group)
                with file.open("a") as out:
                    out.write(json.dumps(row) + "\n")
    report(file)


def report(file: Path) -> None:
    """Print means over the seeds and the whole model's paired gains with 95 % t intervals."""
    table = pd.DataFrame(map(json.loads, file.read_text().splitlines()))
    for value in ("c", "r"):
        wide = table.pivot(index="seed", columns="model", values=value)
        for model in VERSIONS:
            gain = (wide["ghanet"] - wide[model]).dropna()
            half = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
            text = f"{value} {model:20s} {wide[model].mean():.3f}; ghanet {gain.mean():+.3f} ± {half:.3f}"
            print(f"{text} ({len(gain)} seeds)")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print(__doc__)
        sys.exit(0)  # without a finished demo there is nothing to measure
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
