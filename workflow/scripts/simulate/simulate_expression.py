"""Draw the demo cohort's bulk RNA, single cells and spots, and write down the planted truth."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from histoweave import steps
from histoweave.formats import simulate as files
from histoweave.simulate import expression
from histoweave.simulate.cohort import MODULES, simulate_cohort
from histoweave.simulate.genes import TUMOUR_TYPES, simulate_genes
from histoweave.simulate.settings import SimulateSettings
from histoweave.simulate.slide import plan_slides, slide_truth
from histoweave.simulate.tables import has_expression


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--out-dir", type=Path, required=True, help="folder of the cohort")
    args = parser.parse_args(argv)
    settings = steps.settings_of(SimulateSettings, args.settings)
    seed, out = settings.seed, args.out_dir
    cohort, model = simulate_cohort(settings), simulate_genes(seed=seed)
    ids = cohort.patients["patient"]
    bulk, shares = expression.simulate_bulk(
        model, cohort.truth[list(MODULES)].to_numpy(), cohort.patients["site"].to_numpy(), seed=seed
    )
    measured = has_expression(ids)
    rows = pd.DataFrame(index=pd.Index(ids[measured], name="patient"))
    files.write_counts(out / "expression.h5ad", bulk[measured], obs=rows, genes=model.table["gene"], positions=None)
    spots = write_datasets(out / "datasets", model, settings)
    mixtures = pd.DataFrame(shares, columns=list(TUMOUR_TYPES), index=ids).rename_axis(columns="cell_type")
    truth = {
        "patients": (files.TRUE_PATIENTS, cohort.truth),
        "genes": (files.TRUE_GENES, model.table),
        "spots": (files.TRUE_SPOTS, spots),
        "slides": (files.TRUE_SLIDES, slide_truth(plan_slides(cohort, seed=seed))),
        "mixtures": (files.TRUE_MIXTURES, mixtures.stack().rename("share").reset_index()),
    }
    record = steps.provenance("simulate/simulate_expression", settings=settings, seed=seed, inputs={})
    for name, (kind, table) in truth.items():
        kind.write(table, out / f"truth/{name}.parquet", provenance=record)


def write_datasets(folder: Path, model: object, settings: SimulateSettings) -> pd.DataFrame:
    """Write every dataset; return the domain of each spot."""
    for name in steps.progress(expression.DATASETS, what="datasets"):
        if name == expression.SPATIAL:
            data = expression.simulate_spots(model, name, spots=settings.spots, seed=settings.seed)
            domains = data.obs.assign(dataset=name).rename(columns={"cell": "spot"})[["dataset", "spot", "domain"]]
        else:
            data = expression.simulate_cells(model, name, cells=settings.cells, seed=settings.seed)
        obs = data.obs.drop(columns="domain", errors="ignore").set_index("cell")
        files.write_counts(folder / f"{name}.h5ad", data.counts, obs=obs, genes=data.genes, positions=data.positions)
    return domains


if __name__ == "__main__":
    steps.run(main)
