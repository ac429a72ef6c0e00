"""Leave out the cells and genes that cannot be analysed, and say why."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from histoweave import steps
from histoweave.expression.blocks import Subset, depths
from histoweave.expression.qc import QcSettings, inspect
from histoweave.formats.expression import CountsFile, leave_out, write_counts
from histoweave.formats.ledger import Account


def main(argv: Sequence[str] | None) -> None:
    parser = steps.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="h5ad with raw counts in X")
    for name in ("dataset", "modality", "tissue"):
        parser.add_argument(f"--{name}", required=True, help=f"the {name} as in datasets.tsv")
    parser.add_argument("--species", default="", help="species as in datasets.tsv")
    parser.add_argument("--cell-type-column", default="", help="column of obs with the cell types; empty for none")
    parser.add_argument("--out", type=Path, required=True, help="counts.h5ad")
    parser.add_argument("--ledger", type=Path, required=True, help="cells and genes left out")
    args = parser.parse_args(argv)
    settings = steps.settings_of(QcSettings, args.settings["qc"])
    record = steps.provenance("expression/qc_counts", settings=settings, seed=args.seed, inputs={"data": args.data})

    counts = CountsFile(args.data, memory_gb=args.settings["memory_gb"])
    coords = counts.coordinates() if args.modality == "spatial" else None
    who = {"cells": counts.cells, "genes": counts.genes, "coords": coords, "source": str(args.data)}
    tally, found = inspect(counts, settings=settings, modality=args.modality, **who)
    kept = Subset(counts, cells=found.cells, genes=np.flatnonzero(found.genes))
    own = {"depth": depths(kept), "n_genes": tally.genes[found.cells], "mito_percent": tally.mito_percent[found.cells]}
    obs = counts.numbers()[found.cells].assign(**own)
    if args.cell_type_column:
        obs["cell_type"] = counts.labels(args.cell_type_column)[found.cells]
    write_counts(
        args.out,
        kept,
        obs=obs,
        var=pd.DataFrame(index=counts.genes[found.genes]),
        obsm={} if coords is None else {"spatial": coords[found.cells]},
        uns={name: getattr(args, name) for name in ("dataset", "modality", "tissue", "species")},
        provenance=record,
    )
    account = Account("expression")
    leave_out(account, "cell", args.dataset, counts.cells, found.cell_reasons)
    leave_out(account, "gene", args.dataset, counts.genes, found.gene_reasons)
    account.write(args.ledger, provenance=record)


if __name__ == "__main__":
    steps.run(main)
