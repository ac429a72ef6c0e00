"""What stage 1 of Path-GPTOmic learns from the demo's cells, beside the encoder without it and what the cells allow.

Errors are mean absolute errors of cell-type proportions on mixtures of cells that training never saw. `unregulated` is
the best linear read-out of the encoder without stage 1, `profiles` least squares on the types' known profiles over the
same genes: what is left there is the sampling of single cells.

Usage, after the demo: PYTHONPATH=workflow/src OMP_NUM_THREADS=1 python tests/benchmarks/bench_regulation.py [results]
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
from bench_path_gptomic import ROOT, settings

from histoweave.formats.survival import COHORT, EXPRESSION
from histoweave.steps_survival import load_cells, load_embedding
from histoweave.survival.interface import Context, Patients, patients_of
from histoweave.survival.path_gptomic_inputs import fit_profile, stage_one

_SCRNA = ("blood_1", "blood_2", "tumour_1")
_CASES = (("pairs", 256), ("dirichlet", 256), ("dirichlet", 512))


def training_patients(results: Path) -> Patients:
    """Patients with RNA in the training part of the demo's first fold."""
    data = EXPRESSION.read(results / "survival" / "expression.h5ad")
    cohort = COHORT.read(results / "survival" / "cohort.parquet")
    roles = pd.read_parquet(results / "survival" / "folds.parquet")
    inside = roles.loc[(roles["fold"] == roles["fold"].min()) & (roles["role"] == "train"), "patient"]
    rest = {"bags": None, "feature_names": (), "alterations": None, "covariates": []}
    scale = str(data.uns["scale"])
    people = patients_of(cohort, expression=data.to_df(), expression_scale=scale, **rest)
    return people.subset(people.has("expression") & pd.Series(people.ids).isin(inside).to_numpy())


def main(results: Path) -> None:
    """Print a line per way of mixing and size of the panel."""
    people = training_patients(results)
    cells = load_cells([results / "expression" / name / "counts.h5ad" for name in _SCRNA])
    vectors = load_embedding(results / "genegraph" / "gene_embedding.parquet")
    context = Context(0, ("regulation",), gene_embedding=vectors, cells=cells)
    for mix, genes in _CASES:
        own = settings()
        own = replace(own, encoder=replace(own.encoder, panel_genes=genes), regulation=replace(own.regulation, mix=mix))
        begin = time.process_time()
        profile = fit_profile(people, own.encoder, context, staged=True)
        rows = stage_one(profile, own.encoder, own.regulation, context).report
        seconds = time.process_time() - begin
        error = {row["quantity"].removeprefix("error_"): row["value"] for row in rows if row["epoch"] == 0}
        shown = ", ".join(f"{name} {value:.4f}" for name, value in error.items())
        ratio, floor = (error[name] / error["unregulated"] for name in ("regulated", "profiles"))
        print(
            f"{mix:9s} {genes} genes: {shown}; regulated / unregulated {ratio:.2f} (at most 0.5), "
            f"profiles / unregulated {floor:.2f}; {seconds:.0f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "results")
