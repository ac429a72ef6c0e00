"""Does anything leak? Every model on the demo cohort with follow-up dealt out anew between the patients, ten times.

Needs a finished demo (`results/`). Each draw deals (time, event) out anew, splits folds from the new outcomes, trains
every model with its settings and scores its out-of-fold risks as the evaluation stage does (Harrell's c within folds).
Where nothing leaks the mean over the draws is 0.5; the limit is 0.5 +- 0.03.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow/src python tests/benchmarks/bench_permuted.py results permuted.jsonl 0 10

Lines already in the file are not computed again, so that the work can be done in pieces and stopped at any time.
"""

import contextlib
import importlib.util
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 0.03
# Beside the demo's models, every method that the demo leaves out for time; settings as in the demo where it has some.
MORE = {
    "coxnet_slide": {"method": "coxnet_slide"},
    "coxnet_both": {"method": "coxnet_both"},
    "meanpool_wsi": {"method": "meanpool_wsi", "set": {"hidden": 64, "training": {"epochs": 30, "patience": 8}}},
    "snn_rna": {"method": "snn_rna", "set": {"hidden": 64, "training": {"epochs": 30, "patience": 8}}},
    "rsf_rna": {"method": "rsf_rna", "set": {"trees": 100}},
    "survpath": {"method": "survpath", "set": {"hidden": 64, "training": {"epochs": 30, "patience": 8}}},
    "transmil_wsi": {"method": "transmil_wsi", "set": {"hidden": 64, "training": {"epochs": 12, "patience": 4}}},
    "mcat": {"method": "mcat", "set": {"hidden": 64, "training": {"epochs": 30, "patience": 8}}},
}
ANNOTATED = ("blood_1", "blood_2", "tumour_1")  # the demo's single-cell datasets


def config() -> dict:
    """The demo's config, complete, with `MORE` among its models."""
    import yaml

    sys.path.insert(0, str(ROOT / "workflow/rules"))
    from hwrules.config import check_config

    given = yaml.safe_load((ROOT / "config/demo.yaml").read_text())
    given["survival"]["models"] = MORE | given["survival"]["models"]
    return check_config(given, ROOT / "workflow/schemas/config.schema.yaml", source="config/demo.yaml")


def merged(base: dict, change: dict) -> dict:
    """`base` with `change` put over it, nested."""
    nested = {k: merged(base[k], v) for k, v in change.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **change, **nested}


def script(name: str):
    """`main` of a script of the survival stage."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"workflow/scripts/survival/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *words: module.main([str(word) for word in words])


def deal(results: Path, folder: Path, draw: int, settings: dict) -> None:
    """Write the cohort with outcomes of others, and its folds."""
    from histoweave.formats.survival import COHORT

    cohort = COHORT.read(results / "survival/cohort.parquet")
    order = np.random.default_rng([20240517, draw]).permutation(len(cohort))
    cohort[["time_days", "event"]] = cohort[["time_days", "event"]].to_numpy()[order]
    COHORT.write(cohort.astype({"event": int}), folder / "cohort.parquet", provenance={})
    words = ("--cohort", folder / "cohort.parquet", "--settings", json.dumps(settings["folds"]), "--seed", draw)
    script("split_folds")(*words, "--out", folder / "folds.parquet")


def c_index(results: Path, folder: Path, model: str, settings: dict, draw: int) -> float:
    """Train `model` on every fold; Harrell's c of its out-of-fold risks, pairs within folds."""
    from histoweave.evaluation.concordance import concordance
    from histoweave.formats.survival import COHORT, RISK

    spec, out = settings["models"][model], folder / model
    out.mkdir()
    own = merged(settings[spec["method"]], spec["set"])
    stage = results / "survival"
    words = ["--cohort", folder / "cohort.parquet", "--folds", folder / "folds.parquet", "--covariates", "age"]
    words += ["--features", results / "slides/features", "--expression", stage / "expression.h5ad"]
    words += ["--modules", results / "genegraph/modules.parquet"]
    words += ["--gene-embedding", results / "genegraph/gene_embedding.parquet"]
    if spec["method"] == "path_gptomic":
        words += ["--cells", *(results / f"expression/{name}/counts.h5ad" for name in ANNOTATED)]
    words += ["--groups", json.dumps(settings["gene_groups"]), "--model", model, "--method", spec["method"]]
    words += ["--horizons", 365, 1095, "--settings", json.dumps(own), "--seed", draw]
    for name in ("risk.parquet", "training.parquet", "reconstruction.parquet", "bundle", "ledger.parquet"):
        words += [f"--{name.removesuffix('.parquet')}", out / name]
    with contextlib.redirect_stderr(io.StringIO()):
        script("train_model")(*words)
    risk = RISK.read(out / "risk.parquet").merge(COHORT.read(folder / "cohort.parquet"), on="patient")
    parts = [
        concordance(part["time_days"], part["event"], part["risk"]) for _, part in risk.groupby(["repeat", "fold"])
    ]
    agreeing = sum(part.concordant + 0.5 * part.tied for part in parts)
    return agreeing / sum(part.comparable for part in parts)


def report(file: Path) -> bool:
    """Print mean and range over the draws of each model; False if a mean is beyond the limit."""
    found = pd.DataFrame(map(json.loads, file.read_text().splitlines()))
    table = found.groupby("model")["c"].agg(["mean", "std", "min", "max", "size"])
    table["within"] = (table["mean"] - 0.5).abs() <= LIMIT
    print(table.round(3).to_string())
    return bool(table["within"].all())


def main(results: Path, file: Path, first: int, last: int) -> None:
    """Compute what the file lacks of the draws `first` to `last` - 1, then report."""
    settings = config()["survival"]
    file.touch()
    done = {(row["draw"], row["model"]) for row in map(json.loads, file.read_text().splitlines())}
    for draw in range(first, last):
        wanted = [model for model in sorted(settings["models"]) if (draw, model) not in done]
        if not wanted:
            continue
        with tempfile.TemporaryDirectory() as name:
            deal(results, Path(name), draw, settings)
            for model in wanted:
                begin = time.process_time()
                row = {"draw": draw, "model": model, "c": c_index(results, Path(name), model, settings, draw)}
                row["cpu_s"] = round(time.process_time() - begin, 1)
                with file.open("a") as out:
                    out.write(json.dumps(row) + "\n")
    sys.exit(0 if report(file) else 1)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        print(__doc__)
        sys.exit(0)  # without a finished demo there is nothing to measure
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
